// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
)

var (
	targetLine = regexp.MustCompile(`(?m)^([a-zA-Z_-]+(?: [a-zA-Z_-]+)*):(?:[^=]|$)`)
	makeCall   = regexp.MustCompile(`(?:^|[;&|(] *|\$ )(?:[A-Z_]+=\S+ )*make((?: +[A-Za-z_-]+(?:=\S*)?)+)`)
	ownFile    = regexp.MustCompile(`(?:^|[ =])(?:\./)?((?:scripts|examples|testdata|tools|e2e|bench|docs)/[A-Za-z0-9_./-]+)`)
	testFilter = regexp.MustCompile(`-(?:run|bench)[ =]'?([^ ']+)'?`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
)

// checkCommands looks at blocks of shell commands, and at code spans that are one.
func (s *site) checkCommands(p page) {
	if tellsThePast(p.path) {
		return
	}
	for _, b := range p.blocks {
		switch b.language {
		case "sh", "bash":
			if err := syntax(b.text); err != "" {
				s.report(p, b.line, "shell: %s", err)
			}
		case "console":
		default:
			continue
		}
		for i, line := range strings.Split(b.text, "\n") {
			command, _, _ := strings.Cut(line, " #")
			s.checkCommand(p, b.line+i, strings.TrimPrefix(strings.TrimSpace(command), "$ "))
		}
	}
	for _, span := range p.spans {
		if text := strings.Join(strings.Fields(span.text), " "); strings.HasPrefix(text, "make ") || strings.HasPrefix(text, "go ") ||
			strings.HasPrefix(text, "cd ") || strings.HasPrefix(text, "scripts/") {
			s.checkCommand(p, span.line, text)
		}
	}
}

// syntax returns what a shell says about the syntax of its input, if anything.
func syntax(text string) string {
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return strings.TrimSpace(string(out) + " " + err.Error())
	}
	return ""
}

func (s *site) checkCommand(p page, line int, command string) {
	for _, m := range makeCall.FindAllStringSubmatch(command, -1) {
		for target := range strings.FieldsSeq(m[1]) {
			if !s.targets[target] && !strings.Contains(target, "=") {
				s.report(p, line, "`make %s`: the Makefile has no such target", target)
			}
		}
	}
	for _, m := range ownFile.FindAllStringSubmatch(command, -1) {
		if _, err := os.Stat(s.root + "/" + strings.TrimSuffix(m[1], "/...")); err != nil && !strings.HasPrefix(command, "cd ") {
			s.report(p, line, "there is no %s", m[1])
		}
	}
	if !strings.Contains(command, "go test ") {
		return
	}
	for _, m := range testFilter.FindAllStringSubmatch(command, -1) {
		for name := range strings.SplitSeq(m[1], "|") {
			s.checkFilter(p, line, name)
		}
	}
}

// checkFilter wants one test or benchmark to match each alternative of a filter.
func (s *site) checkFilter(p page, line int, filter string) {
	name, _, _ := strings.Cut(filter, "/")
	pattern, err := regexp.Compile(strings.Trim(name, "()"))
	switch {
	case err != nil:
		s.report(p, line, "filter %q: %v", filter, err)
	case name == "^$" || name == "$":
	case !matchesAny(pattern, s.tests):
		s.report(p, line, "no test matches %q", filter)
	}
}

func matchesAny(pattern *regexp.Regexp, names []string) bool {
	for _, name := range names {
		if pattern.MatchString(name) || pattern.MatchString(strings.TrimPrefix(name, "Benchmark")) {
			return true
		}
	}
	return false
}
