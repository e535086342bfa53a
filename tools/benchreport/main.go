// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Benchreport writes a report on the benchmarks in folder bench: Markdown with the figures of a file in Go benchmark
// format held against their targets, and a chart. What is not a figure is in benchmarks.md.tmpl, which is edited by
// hand.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	var p paths
	flag.StringVar(&p.in, "in", "../.tools/bench.txt", "what the benchmarks have printed, all rounds in one file")
	flag.StringVar(&p.out, "out", "../docs/benchmarks.md", "the report to write")
	flag.StringVar(&p.chart, "chart", "../docs/benchmarks.svg", "the chart to write")
	flag.StringVar(&p.bench, "bench", "../bench", "the folder of the benchmarks")
	flag.Parse()
	if err := run(p); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

// paths says what is read and what is written.
type paths struct {
	in, out, chart, bench string
}

func run(p paths) error {
	m, err := readFile(p.in)
	if err != nil {
		return err
	}
	host, err := describe(p.bench)
	if err != nil {
		return err
	}
	date, err := changed(p.in)
	if err != nil {
		return err
	}
	r := newReport(m, host, date)
	if len(costs(m)) > 0 {
		if r.Chart, err = link(p.out, p.chart); err != nil {
			return err
		}
		if err := writeWith(p.chart, func(text *bytes.Buffer) error { return drawChart(text, m) }); err != nil {
			return err
		}
	}
	return writeWith(p.out, func(text *bytes.Buffer) error { return r.render(text) })
}

// changed returns the day of the last change of a file: when it was measured, which can be long before the report.
func changed(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find out when it was measured: %w", err)
	}
	return info.ModTime().UTC().Format("2006-01-02"), nil
}

// link returns how a document refers to a file.
func link(document, file string) (string, error) {
	relative, err := filepath.Rel(filepath.Dir(document), file)
	if err != nil {
		return "", fmt.Errorf("link the chart: %w", err)
	}
	return filepath.ToSlash(relative), nil
}

// writeWith writes a file, and its folder if it is missing. Nothing is written unless all of it could be made.
func writeWith(path string, content func(*bytes.Buffer) error) error {
	var text bytes.Buffer
	if err := content(&text); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
