// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// confidence is that of the intervals.
const confidence = 0.95

// summarize returns the median and its confidence interval, which is infinite with fewer than six figures.
func summarize(values []float64) benchmath.Summary {
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds) // it sorts them
	return benchmath.AssumeNothing.Summary(sample, confidence)
}

// hasInterval tells whether there were enough rounds for a confidence interval.
func hasInterval(s benchmath.Summary) bool {
	return !math.IsInf(s.Lo, 0) && !math.IsInf(s.Hi, 0)
}

// ratios returns a/b round by round: what disturbs a round disturbs both. A round that only one of them has is left
// out.
func ratios(a, b []float64) []float64 {
	return pairs(a, b, func(a, b float64) float64 { return a / b })
}

// surpluses returns by how many percent a is more than b, round by round.
func surpluses(a, b []float64) []float64 {
	return pairs(a, b, func(a, b float64) float64 { return (a/b - 1) * 100 })
}

func pairs(a, b []float64, combine func(a, b float64) float64) []float64 {
	combined := make([]float64, min(len(a), len(b)))
	for i := range combined {
		combined[i] = combine(a[i], b[i])
	}
	return combined
}
