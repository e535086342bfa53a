// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"golang.org/x/perf/benchmath"
)

const notMeasured = "not measured in this run"

// target is a limit for what is measured.
type target struct {
	about   string // the workload or the benchmark
	what    string // is limited
	unit    string // behind the figure
	limit   float64
	atLeast bool // or else at most
	figures func(*measurements) []float64
}

// targets returns all targets in the order of the report.
func targets() []target {
	list := []target{{"W1", "tally", " ns", 5, false, func(m *measurements) []float64 {
		return costOf(m, "W1", "tally")
	}}}
	for _, workload := range []string{"W2", "W3", "W4"} {
		list = append(list,
			ratioTarget(workload, tallyByHand, 1.5, false),
			ratioTarget(workload, countTally, 10, true),
			ratioTarget(workload, signalTally, 10, true))
	}
	list = append(list, ratioTarget("W3-ottl", tallyByHand, 1.3, false))
	for _, workload := range []string{"W5", "W6", "W7", "W8", "W9"} {
		list = append(list, ratioTarget(workload, countTally, 10, true))
	}
	return append(list,
		target{"Scaling", "throughput on 2 cores / on 1", "", 1.8, true, func(m *measurements) []float64 {
			return scaling(m, "tally")
		}},
		target{"Memory", "tally, beyond the text of the key", " B/key", 250, false, func(m *measurements) []float64 {
			return memoryBeyondText(m, "tally")
		}},
		target{"Collector", "what tally adds", " %", 5, false, func(m *measurements) []float64 {
			return collectorSurplus(m, "tally")
		}})
}

// ratioTarget limits how the costs of two contestants compare.
func ratioTarget(workload string, r ratio, limit float64, atLeast bool) target {
	return target{workload, r.String(), "", limit, atLeast, func(m *measurements) []float64 {
		return r.of(m, workload)
	}}
}

// goal returns the limit as text.
func (t target) goal() string {
	sign := "≤"
	if t.atLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g%s", sign, t.limit, t.unit)
}

// outcome is a target with what was measured of it.
type outcome struct {
	target
	measured bool
	benchmath.Summary
}

// judge holds what was measured against the target.
func (t target) judge(m *measurements) outcome {
	values := t.figures(m)
	if len(values) == 0 {
		return outcome{target: t}
	}
	return outcome{t, true, summarize(values)}
}

// met tells whether the median is within the limit.
func (o outcome) met() bool {
	if !o.measured {
		return false
	}
	if o.atLeast {
		return o.Center >= o.limit
	}
	return o.Center <= o.limit
}

// verdict says whether the target is met, and by how much it is not.
func (o outcome) verdict() string {
	switch {
	case !o.measured:
		return notMeasured
	case o.met():
		return "met"
	case o.atLeast:
		return "not met: " + number(o.limit-o.Center) + o.unit + " below"
	default:
		return "not met: " + number(o.Center-o.limit) + o.unit + " above"
	}
}

// outcomes returns what became of all targets.
func outcomes(m *measurements) []outcome {
	var list []outcome
	for _, t := range targets() {
		list = append(list, t.judge(m))
	}
	return list
}
