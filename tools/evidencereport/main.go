// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Command evidencereport writes docs/reliability.md from what the fault tests have reported.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/logtally/tallyprocessor/tools/internal/machine"
)

func main() {
	in := flag.String("in", "../.tools/evidence.jsonl", "figures that the tests have reported")
	tests := flag.String("tests", "../.tools/evidence-tests.json", "output of go test -json; empty = none")
	out := flag.String("out", "../docs/reliability.md", "document to write")
	root := flag.String("root", "..", "folder of the project")
	flag.Parse()
	if err := run(*in, *tests, *out, *root); err != nil {
		fmt.Fprintln(os.Stderr, "evidencereport:", err)
		os.Exit(1)
	}
}

func run(in, tests, out, root string) error {
	figures, err := readFigures(in)
	if err != nil {
		return err
	}
	var outcomes []outcome
	if tests != "" {
		if outcomes, err = readOutcomes(tests); err != nil {
			return err
		}
	}
	rows, err := readRows()
	if err != nil {
		return err
	}
	besides, err := readChecks()
	if err != nil {
		return err
	}
	summary, err := readHeadlines()
	if err != nil {
		return err
	}
	host, err := machine.Describe(root)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	r := newReport(host, figures, outcomes, rows, summary)
	r.Checks = besides
	if err := r.render(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(out, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
