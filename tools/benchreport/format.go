// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"

	"golang.org/x/perf/benchmath"
)

// none stands where there is nothing to show.
const none = "–"

// number returns a figure with as many digits as can be meant.
func number(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 0.1 || a == 0:
		return fmt.Sprintf("%.2f", x)
	default:
		return fmt.Sprintf("%.2g", x)
	}
}

// median returns the median as text.
func median(values []float64) string {
	if len(values) == 0 {
		return none
	}
	return number(summarize(values).Center)
}

// medianWithin returns the median and how far the interval reaches, in percent of it.
func medianWithin(values []float64) string {
	return medianAs(values, number)
}

// medianAs does the same with another text for the median.
func medianAs(values []float64, text func(float64) string) string {
	if len(values) == 0 {
		return none
	}
	s := summarize(values)
	return text(s.Center) + " ± " + strings.Replace(s.PctRangeString(), "%", " %", 1)
}

// interval returns a median and the bounds of its interval, which fits what can be negative or near to zero.
func interval(s benchmath.Summary, unit string) string {
	if !hasInterval(s) {
		return number(s.Center) + unit
	}
	return fmt.Sprintf("%s%s (%s to %s)", number(s.Center), unit, number(s.Lo), number(s.Hi))
}

// duration returns nanoseconds as text.
func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return number(ns/1e6) + " ms"
	case ns >= 1e3:
		return number(ns/1e3) + " µs"
	default:
		return number(ns) + " ns"
	}
}

// millions returns a number in millions.
func millions(x float64) string { return number(x / 1e6) }

// thousands returns digits in groups of three.
func thousands(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
