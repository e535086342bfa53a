// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// validator is what says whether a configuration is valid.
type validator interface {
	kinds() kinds
	validate(config map[string]any) error
}

// kinds are the components that the Collector has, by section.
type kinds map[string]map[string]bool

func (k kinds) has(section, id string) bool {
	name, _, _ := strings.Cut(id, "/")
	return k[section][name]
}

// checkBlocks wants each block of YAML to be a valid configuration, or a valid part of one.
func (s *site) checkBlocks(p page, v validator) {
	for _, b := range p.blocks {
		if b.language != "yaml" && b.language != "yml" {
			continue
		}
		var value any
		if err := yaml.Unmarshal([]byte(b.text), &value); err != nil {
			s.report(p, b.line+lineOf(err), "YAML: %v", err)
			continue
		}
		if err := s.checkBlock(b, value, v); err != nil {
			s.report(p, b.line, "YAML: %v", err)
		}
	}
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// lineOf returns how many lines after the first one an error of YAML is.
func lineOf(err error) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n - 1
}

var errNoPart = errors.New("no component has all these top keys; a comment `<!-- part: PATH -->` on the line before says what it is")

// checkBlock returns the error of the most likely place, unless the block is valid at another one.
func (s *site) checkBlock(b block, value any, v validator) error {
	top, _ := value.(map[string]any)
	if b.mark == "none" || isForOthers(top) {
		return nil
	}
	parts := s.partsOf(value, v.kinds())
	if b.mark != "" {
		parts = []part{strings.Split(b.mark, "::")}
	}
	first := errNoPart
	for _, place := range parts {
		config, err := s.complete(place.wrap(value), v.kinds())
		if err == nil {
			err = v.validate(config)
		}
		if err == nil {
			return nil
		}
		if errors.Is(first, errNoPart) || strings.Contains(first.Error(), "is unknown") {
			first = fmt.Errorf("as %s: %w", place, err)
		}
	}
	return first
}

func (p part) String() string {
	if len(p) == 0 {
		return "configuration"
	}
	return "part of `" + strings.Join(p, "::") + "`"
}
