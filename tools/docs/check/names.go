// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/logtally/tallyprocessor/tools/docs/options"
)

var (
	pathSpan   = regexp.MustCompile(`^[a-z_]+(?:::[A-Za-z0-9_.<>*-]+)+$`)
	metricSpan = regexp.MustCompile(`^(otelcol_[a-z]+_tally_[a-z_]+[a-z])$`)
	metricLine = regexp.MustCompile(`(?m)^### (otelcol_\S+)`)
	snake      = regexp.MustCompile(`[a-z][a-z0-9]*(?:_[a-z0-9]+)+`)
	wordSpan   = regexp.MustCompile(`^` + snake.String() + `$`)
	testSpan   = regexp.MustCompile(`^(?:[a-z][a-z0-9/]*\.)?((?:Test|Fuzz|Benchmark)[A-Z]\w*)$`)
	suffixes   = regexp.MustCompile(`_(?:total|bucket|sum|count)$`)
)

// tellsThePast says whether a page has names of earlier versions.
func tellsThePast(path string) bool { return path == "CHANGELOG.md" || path == "docs/migrating.md" }

// checkNames wants each option and each metric that a page names to exist, and each other word with an underscore to be
// one of the project.
func (s *site) checkNames(p page) {
	if tellsThePast(p.path) {
		return
	}
	for _, span := range p.spans {
		text, _, _ := strings.Cut(span.text, ": ")
		if m := testSpan.FindStringSubmatch(text); m != nil && !s.hasTest(m[1]) {
			s.report(p, span.line, "there is no test %s", m[1])
		}
		switch {
		case pathSpan.MatchString(text) && !s.isOption(strings.Split(text, "::")):
			s.report(p, span.line, "there is no option `%s`", text)
		case wordSpan.MatchString(text) && !s.isWord(text):
			s.report(p, span.line, "no file of the project has the word `%s`; if it is an option of others, list it in ofOthers of tools/docs/check", text)
		case metricSpan.MatchString(text) && !s.metrics[text] && !s.metrics[suffixes.ReplaceAllString(text, "")]:
			s.report(p, span.line, "there is no metric `%s`", text)
		}
	}
	for _, option := range p.options {
		if path := strings.Split(option.text, "::"); !s.isOption(path) {
			s.report(p, option.line, "there is no option `%s`", option.text)
		}
	}
}

// hasTest says whether there is a test of a name, or tests that begin so where it ends in `_`.
func (s *site) hasTest(name string) bool {
	return slices.ContainsFunc(s.tests, func(test string) bool {
		return test == name || strings.HasSuffix(name, "_") && strings.HasPrefix(test, name)
	})
}

// ofOthers are options of other projects that a page may name and no file here has.
var ofOthers = map[string]bool{"with_resource_constant_labels": true, "metadata_keys": true, "json_parser": true, "client_ca_file": true}

// isWord says whether a file has a word, or the end of one: pages name metrics without what all their
// names begin with. A name that ends as a counter's in Prometheus may be an example.
func (s *site) isWord(text string) bool {
	if ofOthers[text] || strings.HasSuffix(text, "_total") || s.words[text] || s.words[suffixes.ReplaceAllString(text, "")] {
		return true
	}
	for word := range s.words {
		if strings.HasSuffix(word, "_"+text) {
			return true
		}
	}
	return false
}

// collectors are the parts of a configuration that are not tally's, by their first key.
var collectors = map[string]bool{
	"service": true, "receivers": true, "processors": true, "exporters": true, "connectors": true, "extensions": true, "sending_queue": true,
	"protocols": true, "telemetry": true, "compaction": true, "otlp": true, "retry_on_failure": true,
}

// isOption says whether a path is one of an option, or ends one.
func (s *site) isOption(path []string) bool {
	if collectors[path[0]] {
		return true
	}
	for _, c := range s.components {
		if path[0] == c.ID && (len(path) == 1 || s.isOption(path[1:])) {
			return true
		}
		for _, o := range c.Options {
			if leads(o, path) {
				return true
			}
		}
	}
	return false
}

// leads says whether a path is that of an option, or of a part of it, from any of its sections on.
func leads(o options.Option, path []string) bool {
	for start := range o.Path {
		rest := o.Path[start:]
		n := min(len(rest), len(path))
		if equal(rest[:n], path[:n]) && (len(path) <= len(rest) || o.Elsewhere != "") {
			return true
		}
	}
	return false
}

func equal(pattern, path []string) bool {
	for i, key := range pattern {
		if key != path[i] && !strings.HasPrefix(key, "<") {
			return false
		}
	}
	return !strings.HasPrefix(pattern[0], "<")
}
