// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"io"
	"strconv"
	"text/template"
)

//go:embed benchmarks.md.tmpl
var reportText string

// report is what the template shows.
type report struct {
	Machine                                                measuredOn
	Date                                                   string // of the measurement
	Rounds                                                 string
	Met, Measured, All                                     int    // targets
	Chart                                                  string // where it is, empty without one
	Targets, Cost, Keys, Scaling, Memory, Collector, Stall *table
}

// newReport returns the report on what was measured.
func newReport(m *measurements, host measuredOn, date string) *report {
	all := outcomes(m)
	r := &report{
		Machine: host, Date: date, Rounds: roundsText(m), All: len(all),
		Targets: targetsTable(all), Cost: costTable(m, all), Keys: keysTable(m), Scaling: scalingTable(m),
		Memory: memoryTable(m), Collector: collectorTable(m), Stall: stallTable(m),
	}
	for _, o := range all {
		if o.measured {
			r.Measured++
		}
		if o.met() {
			r.Met++
		}
	}
	return r
}

// roundsText returns how many rounds there were.
func roundsText(m *measurements) string {
	fewest, most := m.rounds()
	if fewest == most {
		return strconv.Itoa(most)
	}
	return fmt.Sprintf("%d to %d", fewest, most)
}

// render writes the report as Markdown.
func (r *report) render(w io.Writer) error {
	t, err := template.New("benchmarks.md.tmpl").Parse(reportText)
	if err != nil {
		return fmt.Errorf("parse the template: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("fill the template: %w", err)
	}
	return nil
}
