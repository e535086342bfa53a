// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package valuetest makes attribute values for tests as a sender can: from OTLP bytes, nested to any depth, with names
// that a map holds twice, and with strings that are not UTF-8.
package valuetest

import (
	"encoding/binary"
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"
)

// Bytes is a value, an AnyValue of OTLP, in protobuf.
type Bytes []byte

// The fields of OTLP's messages, with their wire types.
const (
	stringValue = 0x0a
	boolValue   = 0x10
	intValue    = 0x18
	doubleValue = 0x21
	arrayValue  = 0x2a
	mapValue    = 0x32
	bytesValue  = 0x3a
	first       = 0x0a // of a message
	second      = 0x12
	fifth       = 0x2a
	sixth       = 0x32
)

func field(tag byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{tag}, uint64(len(content))), content...)
}

// String returns a string.
func String(s string) Bytes { return field(stringValue, []byte(s)) }

// Int returns an int.
func Int(n int64) Bytes { return binary.AppendUvarint([]byte{intValue}, uint64(n)) }

// Double returns a double.
func Double(f float64) Bytes {
	return binary.LittleEndian.AppendUint64([]byte{doubleValue}, math.Float64bits(f))
}

// Member returns an attribute, or a member of a map.
func Member(name string, value Bytes) []byte {
	return append(field(first, []byte(name)), field(second, value)...)
}

// Map returns a map of members, which may have one name.
func Map(members ...[]byte) Bytes { return field(mapValue, all(first, members)) }

// List returns a list.
func List(values ...[]byte) Bytes { return field(arrayValue, all(first, values)) }

func all(tag byte, messages [][]byte) []byte {
	var list []byte
	for _, m := range messages {
		list = append(list, field(tag, m)...)
	}
	return list
}

// Nested returns a 1 that stands in so many lists, or in maps whose one member is "a". It is written back to front, in
// linear time.
func Nested(depth int, inMaps bool) Bytes {
	text := make([]byte, 24*depth+16)
	start := len(text)
	size := func() int { return len(text) - start }
	put := func(b ...byte) {
		start -= len(b)
		copy(text[start:], b)
	}
	head := func(tag byte) { put(binary.AppendUvarint([]byte{tag}, uint64(size()))...) }
	put(Int(1)...)
	for range depth {
		if !inMaps {
			head(first)
			head(arrayValue)
			continue
		}
		head(second)
		put(field(first, []byte("a"))...)
		head(first)
		head(mapValue)
	}
	return text[start:]
}

// Record is a log record and what it stands in: attributes, each a Member, and a body.
type Record struct {
	Resource, Scope, Attributes [][]byte
	Body                        Bytes
}

// Logs returns logs of one record, as they come from a receiver.
func (r Record) Logs() (plog.Logs, error) {
	record := append(field(fifth, r.Body), all(sixth, r.Attributes)...)
	scope := append(field(first, all(0x1a, r.Scope)), field(second, record)...)
	resource := append(field(first, all(first, r.Resource)), field(second, scope)...)
	return (&plog.ProtoUnmarshaler{}).UnmarshalLogs(field(first, resource))
}

// Value returns a value as a receiver has it.
func (b Bytes) Value() pcommon.Value {
	ld, err := Record{Body: b}.Logs()
	if err != nil {
		panic(err) // a mistake of the test
	}
	return ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body()
}

// Text draws strings: any, and those of which JSON escapes something, or might.
func Text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			"", "a", "b", "<&>", "\"\\/", "\x00\b\t\n\f\r\x1f\x7f", "\u0085\u2028\u2029\ufeff\ufffd", "\xff", "\xe2\x82", "€\xe2", "😀\xf0\x9f",
			strings.Repeat("x", 300), "7", "7.0", "NaN", "true",
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
	)
}

// Number draws doubles: any, many that are whole, and, unless finite, those that are no number or infinite.
func Number(finite bool) *rapid.Generator[float64] {
	whole := rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n) })
	odd := []float64{0, math.Copysign(0, -1), 200, 12345678, 1.7e12, 1e21, 1e20, 1e-6, 1e-7, 123e-9, 1 << 60, math.MaxFloat64, math.SmallestNonzeroFloat64}
	if !finite {
		odd = append(odd, math.NaN(), math.Inf(1), math.Inf(-1))
	}
	return rapid.OneOf(rapid.Float64(), whole, rapid.SampledFrom(odd))
}

// Any draws values of any kind, whose lists and maps are nested no deeper than depth. If finite, each number in it is
// one.
func Any(depth int, finite bool) *rapid.Generator[Bytes] {
	return rapid.Custom(func(t *rapid.T) Bytes {
		kinds := 8
		if depth == 0 {
			kinds = 6
		}
		switch rapid.IntRange(1, kinds).Draw(t, "kind") {
		case 1:
			return String(Text().Draw(t, "string"))
		case 2:
			return Int(rapid.Int64().Draw(t, "int"))
		case 3:
			return Double(Number(finite).Draw(t, "double"))
		case 4:
			return Bytes{boolValue, byte(rapid.IntRange(0, 1).Draw(t, "bool"))}
		case 5:
			return field(bytesValue, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		case 7:
			return List(draw(t, func() []byte { return Any(depth-1, finite).Draw(t, "element") })...)
		case 8:
			return Map(draw(t, func() []byte { return Member(Text().Draw(t, "name"), Any(depth-1, finite).Draw(t, "member")) })...)
		}
		return nil // empty
	})
}

func draw(t *rapid.T, one func() []byte) (list [][]byte) {
	for range rapid.IntRange(0, 8).Draw(t, "size") {
		list = append(list, one())
	}
	return list
}
