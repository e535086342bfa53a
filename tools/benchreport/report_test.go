// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/logtally/tallyprocessor/tools/internal/machine"
)

// sample has three rounds; the second was disturbed, and both contestants alike.
const sample = `workload-W2: one string attribute
BenchmarkCount/workload=W2/by=by-hand-2  10  100 ns/op  20 cpu-ns/record
BenchmarkCount/workload=W2/by=tally-2    10  100 ns/op  28 cpu-ns/record
BenchmarkCount/workload=W2/by=count-2    10  100 ns/op 252 cpu-ns/record
BenchmarkScaling/by=tally/cores=1-2      10  100 ns/op 1000 records/s
BenchmarkScaling/by=tally/cores=2-2      10  100 ns/op 1500 records/s
BenchmarkCount/workload=W2/by=by-hand-2  10  100 ns/op  200 cpu-ns/record
BenchmarkCount/workload=W2/by=tally-2    10  100 ns/op  300 cpu-ns/record
BenchmarkCount/workload=W2/by=count-2    10  100 ns/op 2700 cpu-ns/record
BenchmarkCount/workload=W2/by=by-hand-2  10  100 ns/op  20 cpu-ns/record
BenchmarkCount/workload=W2/by=tally-2    10  100 ns/op  26 cpu-ns/record
BenchmarkCount/workload=W2/by=count-2    10  100 ns/op 260 cpu-ns/record
`

func readSample(t *testing.T) *measurements {
	t.Helper()
	m, err := read([]byte(sample), "sample")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Ratios are taken round by round, and the median of those is held against the target.
func TestTargets(t *testing.T) {
	verdicts := map[string]string{}
	for _, o := range outcomes(readSample(t)) {
		verdicts[o.about+" "+o.what] = o.verdict()
	}
	for target, want := range map[string]string{
		"W2 tally/by-hand":                     "met", // 1.4, 1.5, 1.3
		"W2 count/tally":                       "not met: 1.00 below",
		"W2 signal_to_metrics/tally":           notMeasured,
		"Scaling throughput on 2 cores / on 1": "not met: 0.30 below",
		"W1 tally":                             notMeasured,
	} {
		if got := verdicts[target]; got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// The report has the figures, says what was not measured, and has no chart where there is none.
func TestRender(t *testing.T) {
	var text bytes.Buffer
	if err := newReport(readSample(t), measuredOn{Facts: machine.Facts{CPU: "some CPU"}}, "2026-01-02").render(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"W2: one string attribute", "some CPU", "2026-01-02", notMeasured, "| 28"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "![") {
		t.Error("there is a chart")
	}
}

func TestChart(t *testing.T) {
	var svg bytes.Buffer
	if err := drawChart(&svg, readSample(t)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(svg.String(), "</svg>") || !strings.Contains(svg.String(), "signal_to_metrics") {
		t.Error("no chart")
	}
}

// A broken line is an error: without it, rounds would be paired wrongly.
func TestBrokenLine(t *testing.T) {
	if _, err := read([]byte("BenchmarkCount/workload=W2/by=tally-2 10 x cpu-ns/record\n"), "broken"); err == nil {
		t.Error("no error")
	}
}
