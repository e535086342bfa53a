// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package labels names metrics and their labels in Prometheus: one rule for all that shows totals to it, which is the
// rule of the Collector's Prometheus exporter with its default settings.
package labels

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
)

// What an attribute gets before its name when that is taken, or reserved.
const (
	AttributePrefix = "attribute."
	ResourcePrefix  = "resource."
)

// Label is the name of a label.
type Label struct {
	// Name is for clients that take any UTF-8 name, and for OTLP: the attribute's own where clients that do not take it
	// see Prometheus for it, and else Prometheus. EscapeName of prometheus/common makes a valid name of it.
	Name string

	// Prometheus is the name that the exporter gives, of letters, digits and underscores. No two labels of a key share
	// it.
	Prometheus string
}

// Namer gives each attribute of one key a label name of its own. It is not safe for concurrent use.
type Namer struct{ taken map[string]bool }

// NewNamer returns a Namer that gives none of the names in reserved.
func NewNamer(reserved ...string) *Namer {
	n := &Namer{taken: map[string]bool{}}
	for _, name := range reserved {
		n.taken[name] = true
	}
	return n
}

// Name returns the name under which an attribute is shown, and enters it as taken: the name of the attribute, unless
// that is taken or reserved; then with prefix before it, and a number after it should that be taken too.
func (n *Namer) Name(prefix, name string) Label {
	candidate := name
	for i := 1; ; i++ {
		if label, ok := prometheus(candidate); ok && !n.taken[label] {
			n.taken[label] = true
			return Label{Name: unlessEscapedOtherwise(candidate, label), Prometheus: label}
		}
		candidate = prefix + name
		if i > 1 {
			candidate = fmt.Sprintf("%s%s_%d", prefix, name, i)
		}
	}
}

// prometheus returns the name that the exporter makes of the name of an attribute, and whether Prometheus takes it:
// names that begin with two underscores, and those that exporters use for the scope, are reserved.
func prometheus(name string) (string, bool) {
	namer := otlptranslator.LabelNamer{UnderscoreLabelSanitization: true} //nolint:staticcheck // the exporter's default
	label, err := namer.Build(name)
	if err != nil || strings.HasPrefix(label, "__") || strings.HasPrefix(label, "otel_scope_") {
		return "", false
	}
	return label, true
}

// unlessEscapedOtherwise returns name if client_golang, which escapes it for clients that do not take UTF-8 names,
// makes prometheus of it; and else prometheus. The parser of Prometheus takes no names with some of the characters that
// cannot be printed.
func unlessEscapedOtherwise(name, prometheus string) string {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if model.EscapeName(name, model.UnderscoreEscaping) == prometheus && !strings.ContainsFunc(name, unprintable) {
		return name
	}
	return prometheus
}
