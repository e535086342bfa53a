// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package serieskey gives every series one name: its key.
//
// A key has two forms. The text form leaves the process: it is what a MetricStore, a snapshot, Redis and the API
// see, canonical and reversible, the same for the same series on every machine for ever. The compact form never
// leaves it: length-prefixed bytes that are cheap to write for each record and that are turned into text once for
// each distinct key of a batch.
//
// Everything here is a pure function and safe for concurrent use.
package serieskey

import (
	"fmt"
	"math"
	"strconv"
)

// Kind is the type of an attribute value in a key.
type Kind uint8

// The kinds of values that stay typed in a key. Every other pdata type is a String holding its AsString text.
const (
	String Kind = iota
	Int
	Double
	Bool
)

// Value is one typed attribute value. The zero Value is the empty string.
type Value struct {
	kind Kind
	str  string
	bits uint64 // of the int64, the float64 or the bool
}

// StringValue returns a String value.
func StringValue(s string) Value { return Value{str: s} }

// IntValue returns an Int value.
func IntValue(n int64) Value { return Value{kind: Int, bits: uint64(n)} }

// DoubleValue returns a Double value. JSON has no text for NaN and the infinities, so those become the String that
// names them; negative zero becomes zero, which equals it.
func DoubleValue(f float64) Value {
	switch {
	case math.IsNaN(f), math.IsInf(f, 0):
		return StringValue(strconv.FormatFloat(f, 'g', -1, 64))
	case f == 0:
		f = 0 // drops the sign
	}
	return Value{kind: Double, bits: math.Float64bits(f)}
}

// BoolValue returns a Bool value.
func BoolValue(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.bits = 1
	}
	return v
}

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// Int returns the number of an Int value; its result has no meaning for another kind.
func (v Value) Int() int64 { return int64(v.bits) }

// Double returns the number of a Double value; its result has no meaning for another kind.
func (v Value) Double() float64 { return math.Float64frombits(v.bits) }

// Bool returns the truth of a Bool value; its result has no meaning for another kind.
func (v Value) Bool() bool { return v.bits != 0 }

// AsString returns the text of the value for people and other systems, whatever its kind: that of pdata's AsString,
// `200` for the double 200. AppendValue has the text for keys, which tells kinds apart.
func (v Value) AsString() string {
	switch v.kind {
	case Int:
		return strconv.FormatInt(v.Int(), 10)
	case Double:
		return string(appendShown(nil, v.Double()))
	case Bool:
		return strconv.FormatBool(v.Bool())
	default:
		return v.str
	}
}

// Attribute is a named value.
type Attribute struct {
	Name  string
	Value Value
}

// OverflowAttribute marks the keys under which increments beyond the cardinality limit are counted. The name is that
// of the OpenTelemetry metrics SDK specification (section "Overflow attribute").
const OverflowAttribute = "otel.metric.overflow"

// Key is the identity of one series. In a canonical Key both lists are sorted bytewise by name and hold no name
// twice.
type Key struct {
	Metric     string
	Resource   []Attribute
	Attributes []Attribute
}

// String returns the text form, as AppendText writes it.
func (k Key) String() string {
	var room [256]byte // most keys fit, and then there is no other copy
	return string(k.AppendText(room[:0]))
}

// isWrittenAs says whether String returns text.
func (k Key) isWrittenAs(text string) bool {
	var room [256]byte
	return string(k.AppendText(room[:0])) == text
}

// GoString makes failures in tests readable.
func (v Value) GoString() string { return fmt.Sprintf("%d:%s", v.kind, v.AsString()) }
