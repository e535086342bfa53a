// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Command check finds what is wrong in the pages of the project: links that lead nowhere, YAML that the built Collector
// does not take, and names of options, metrics, make targets and tests that do not exist. It prints each with file and
// line.
//
// A block of YAML is a configuration or a part of one. Which part it is follows from its top keys: sections of the
// Collector, ids of components, or options. Where that is not so, a comment on the line before says it: `<!-- part:
// processors::tally -->`, or `<!-- part: none -->` for YAML of something else.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("root", "../..", "folder of the project")
	collector := flag.String("collector", "../../dist/otelcol-tally", "the built Collector")
	flag.Parse()
	problems, err := run(*root, *collector)
	for _, p := range problems {
		fmt.Println(p)
	}
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("%d problems in the pages", len(problems))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(root, collector string) ([]problem, error) {
	s, err := newSite(root)
	if err != nil {
		return nil, err
	}
	c, err := newCollector(collector)
	if err != nil {
		return nil, err
	}
	err = s.check(c)
	return s.problems, errors.Join(err, c.close())
}
