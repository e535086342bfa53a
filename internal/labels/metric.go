// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package labels

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
)

// Metric returns the name of a counter on pages without suffixes, as the Collector's own is: shown is for clients that
// take any UTF-8 name and for OTLP, as Label.Name is. ok is false when the exporter makes no name of it.
func Metric(name string) (shown, prometheus string, ok bool) {
	prometheus, err := build(otlptranslator.UnderscoreEscapingWithoutSuffixes, name, "")
	if err != nil {
		return "", "", false
	}
	return unlessEscapedOtherwise(name, prometheus), prometheus, true
}

// Total is Metric for pages with suffixes: that of the unit, and `_total`. So something is made of every name.
func Total(name, unit string) (shown, prometheus string) {
	prometheus, _ = build(otlptranslator.UnderscoreEscapingWithSuffixes, name, unit)
	return unlessEscapedOtherwise(ownTotal(name, unit), prometheus), prometheus
}

// Forms returns the names of a counter on the different kinds of pages, escaped. Two counters that have one of them in
// common, at the same place, are one to Prometheus. A form is empty where the exporter makes no name.
func Forms(name, unit string) [3]string {
	_, total := Total(name, unit)
	shown, plain, ok := Metric(name)
	if !ok {
		return [3]string{"", total, ""}
	}
	// the last: the Collector's, with suffixes
	return [3]string{plain, total, model.EscapeName(ownTotal(shown, unit), model.UnderscoreEscaping)}
}

// ownTotal returns the name with suffixes and nothing escaped.
func ownTotal(name, unit string) string {
	own, _ := build(otlptranslator.NoUTF8EscapingWithSuffixes, name, unit)
	return own
}

// build fails only where a name without suffixes has no character that it may have.
func build(strategy otlptranslator.TranslationStrategyOption, name, unit string) (string, error) {
	namer := otlptranslator.NewMetricNamer("", strategy)
	return namer.Build(otlptranslator.Metric{Name: name, Unit: unit, Type: otlptranslator.MetricTypeMonotonicCounter})
}
