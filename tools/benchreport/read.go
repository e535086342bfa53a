// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// measurements are the figures of a file in Go benchmark format.
type measurements struct {
	names     []string                        // of the benchmarks, in the order of the file
	figures   map[string]map[string][]float64 // by name and unit: one of each round, in their order
	workloads map[string]string               // what a workload is, by its name
}

// workloadLine says what a workload is. The package benchfmt cannot read it: to it, a key has no upper-case letters.
var workloadLine = regexp.MustCompile(`(?m)^workload-(\S+):[ \t]*(.*?)\s*$`)

// readFile reads what benchmarks have printed, with the rounds one after the other.
func readFile(path string) (*measurements, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the benchmarks: %w", err)
	}
	return read(text, path)
}

// read reads text in Go benchmark format. A broken line is an error, as without it rounds were paired wrongly.
func read(text []byte, name string) (*measurements, error) {
	m := &measurements{figures: map[string]map[string][]float64{}, workloads: map[string]string{}}
	for _, match := range workloadLine.FindAllSubmatch(text, -1) {
		m.workloads[strings.ToLower(string(match[1]))] = string(match[2])
	}
	reader := benchfmt.NewReader(bytes.NewReader(text), name)
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.Result:
			m.add(record)
		case *benchfmt.SyntaxError:
			return nil, fmt.Errorf("read the benchmarks: %w", record)
		}
	}
	if err := reader.Err(); err != nil {
		return nil, fmt.Errorf("read the benchmarks: %w", err)
	}
	return m, nil
}

// add adds the figures of one line, in the units that the benchmark has reported.
func (m *measurements) add(r *benchfmt.Result) {
	name := withoutProcs(r.Name)
	if m.figures[name] == nil {
		m.names = append(m.names, name)
		m.figures[name] = map[string][]float64{}
	}
	for _, v := range r.Values {
		value, unit := v.Value, v.Unit
		if v.OrigUnit != "" {
			value, unit = v.OrigValue, v.OrigUnit
		}
		m.figures[name][unit] = append(m.figures[name][unit], value)
	}
}

// withoutProcs returns the name of a benchmark without the number of CPUs at its end.
func withoutProcs(n benchfmt.Name) string {
	base, parts := n.Parts()
	var name strings.Builder
	name.Write(base)
	for _, part := range parts {
		if part[0] == '/' {
			name.Write(part)
		}
	}
	return name.String()
}

// values returns one figure of each round, none if the benchmark was not run.
func (m *measurements) values(name, unit string) []float64 {
	return m.figures[name][unit]
}

// variants returns what follows a prefix in the names of benchmarks, up to the next slash, in the order of the file.
func (m *measurements) variants(prefix string) []string {
	var list []string
	for _, name := range m.names {
		rest, found := strings.CutPrefix(name, prefix)
		if !found {
			continue
		}
		variant, _, _ := strings.Cut(rest, "/")
		if !slices.Contains(list, variant) {
			list = append(list, variant)
		}
	}
	return list
}

// rounds returns the fewest and the most rounds that a benchmark has.
func (m *measurements) rounds() (fewest, most int) {
	for _, units := range m.figures {
		for _, values := range units {
			if fewest == 0 || len(values) < fewest {
				fewest = len(values)
			}
			most = max(most, len(values))
		}
	}
	return fewest, most
}
