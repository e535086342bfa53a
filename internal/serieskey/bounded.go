// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"cmp"
	"encoding/base64"
	"iter"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// MaxDepth is how many lists and maps a text shows inside one another. A sender can nest a value a million levels deep,
// and a recursion over all of them overflows the stack, which ends the process.
const MaxDepth = 64

// Text returns the text of v: that of pdata's AsString, of which it takes at most limit bytes (0 = all), cut where a
// character starts, and nothing from the first list or map on that is nested deeper than MaxDepth. wasCut says whether
// anything is missing.
//
// The cost is bounded by limit, but for one look at each name of a map: whatever the text does not show is neither
// rendered, nor sorted, nor copied.
func Text(v pcommon.Value, limit int) (text string, wasCut bool) {
	if v.Type() == pcommon.ValueTypeStr {
		return Cut(v.Str(), limit)
	}
	w := newWriter(nil, limit)
	w.pdata(v)
	return w.text()
}

// appendText appends Text.
func appendText(dst []byte, v pcommon.Value, limit int) (_ []byte, wasCut bool) {
	w := newWriter(dst, limit)
	w.pdata(v)
	return w.finish()
}

// IsTooDeep says whether v has lists and maps inside one another more than MaxDepth deep. It looks at all of v down to
// there.
func IsTooDeep(v pcommon.Value) bool { return isDeeper(v, MaxDepth) }

func isDeeper(v pcommon.Value, depth int) bool {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		if depth == 0 {
			return true
		}
		for _, inner := range v.Map().All() {
			if isDeeper(inner, depth-1) {
				return true
			}
		}
	case pcommon.ValueTypeSlice:
		if depth == 0 {
			return true
		}
		for _, inner := range v.Slice().All() {
			if isDeeper(inner, depth-1) {
				return true
			}
		}
	}
	return false
}

// writer writes the JSON text of a value, as far as it is kept.
type writer struct {
	limit int
	start int // where the text begins in dst

	dst     []byte
	depth   int  // how many lists and maps are open
	tooDeep bool // one that is nested too deep ended the text
	noText  bool // JSON has no text for NaN and the infinities, so pdata has none for a list or map that holds one
	err     error
}

func newWriter(dst []byte, limit int) writer {
	if limit <= 0 {
		limit = math.MaxInt / 4 // far from an overflow of what is added to it
	}
	return writer{limit: limit, start: len(dst), dst: dst}
}

// room returns how many bytes are of use: one more than is kept, which shows that the text is cut.
func (w *writer) room() int { return w.limit + 1 - (len(w.dst) - w.start) }

// done says whether nothing that follows is part of the text.
func (w *writer) done() bool { return w.tooDeep || w.noText || w.err != nil || w.room() <= 0 }

// finish cuts the text and returns it behind what was in dst.
func (w *writer) finish() (_ []byte, wasCut bool) {
	switch size := len(w.dst) - w.start; {
	case size > w.limit:
		return w.dst[:w.start+len(cut(w.dst[w.start:], w.limit))], true
	case w.noText:
		return w.dst[:w.start], false
	}
	return w.dst, w.tooDeep
}

func (w *writer) text() (string, bool) {
	text, wasCut := w.finish()
	return string(text), wasCut
}

// pdata writes a value that stands in no list or map.
func (w *writer) pdata(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeEmpty:
	case pcommon.ValueTypeStr:
		w.dst = append(w.dst, v.Str()...)
	case pcommon.ValueTypeBytes:
		w.base64(v.Bytes().Len(), v.Bytes().At)
	case pcommon.ValueTypeDouble:
		w.dst = appendShown(w.dst, v.Double())
	default:
		w.inner(v)
	}
}

// inner writes a value as JSON.
func (w *writer) inner(v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeEmpty:
		w.dst = append(w.dst, "null"...)
	case pcommon.ValueTypeStr:
		w.string(v.Str())
	case pcommon.ValueTypeInt:
		w.dst = strconv.AppendInt(w.dst, v.Int(), 10)
	case pcommon.ValueTypeDouble:
		w.double(v.Double())
	case pcommon.ValueTypeBool:
		w.dst = strconv.AppendBool(w.dst, v.Bool())
	case pcommon.ValueTypeMap:
		writeMap(w, v.Map().Len(), v.Map().All(), w.inner)
	case pcommon.ValueTypeSlice:
		writeList(w, v.Slice().All(), w.inner)
	case pcommon.ValueTypeBytes:
		if v.Bytes().Len() == 0 {
			w.dst = append(w.dst, "null"...) // as pdata has it
			return
		}
		w.bytes(v.Bytes().Len(), v.Bytes().At)
	}
}

func (w *writer) string(s string) {
	w.dst = append(w.dst, '"')
	s = s[:min(len(s), w.room()+utf8.UTFMax)] // no character that is kept is cut in two
	w.dst = append(appendEscaped(w.dst, s), '"')
}

func (w *writer) double(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.noText = true
		return
	}
	w.dst = appendShown(w.dst, f)
}

func (w *writer) bytes(n int, at func(int) byte) {
	w.dst = append(w.dst, '"')
	w.base64(n, at)
	w.dst = append(w.dst, '"')
}

// base64 writes n bytes, or as many as there is room for.
func (w *writer) base64(n int, at func(int) byte) {
	if groups := w.room()/4 + 1; groups < n/3 {
		n = 3 * groups // whole groups have no padding
	}
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = at(i)
	}
	w.dst = base64.StdEncoding.AppendEncode(w.dst, raw)
}

// open begins a list or map, unless nothing of it is part of the text.
func (w *writer) open(bracket byte) bool {
	if w.depth == MaxDepth {
		w.tooDeep = true
		return false
	}
	w.depth++
	w.dst = append(w.dst, bracket)
	return true
}

func (w *writer) close(bracket byte) {
	w.depth--
	if !w.done() {
		w.dst = append(w.dst, bracket)
	}
}

func writeList[V any](w *writer, list iter.Seq2[int, V], write func(V)) {
	if !w.open('[') {
		return
	}
	for i, v := range list {
		if w.done() {
			break
		}
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		write(v)
	}
	w.close(']')
}

// leastMember is the fewest bytes that a member takes, but for one without a name: `"a":1,`.
const leastMember = 6

func writeMap[V any](w *writer, size int, all iter.Seq2[string, V], write func(V)) {
	if !w.open('{') {
		return
	}
	for i, m := range first(all, min(size, w.room()/leastMember+2)) {
		if w.done() {
			break
		}
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		if w.string(m.name); w.done() {
			break
		}
		w.dst = append(w.dst, ':')
		write(m.value)
	}
	w.close('}')
}

// member is a member of a map.
type member[V any] struct {
	name  string
	value V
}

// first returns the n members whose names come first, sorted. Of members of one name it takes the last. It holds no
// more than 2n at a time.
func first[V any](all iter.Seq2[string, V], n int) []member[V] {
	list := make([]member[V], 0, n)
	var bound string // with more than n names: those behind it are not wanted
	isBounded := false
	for name, value := range all {
		if isBounded && name > bound {
			continue
		}
		if list = append(list, member[V]{name, value}); len(list) < 2*n {
			continue
		}
		if list = sorted(list); len(list) >= n {
			list = list[:n]
			bound, isBounded = list[n-1].name, true
		}
	}
	list = sorted(list)
	return list[:min(n, len(list))]
}

// sorted sorts a list by name, in place, and drops all but the last member of each name.
func sorted[V any](list []member[V]) []member[V] {
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b member[V]) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(list, func(a, b member[V]) bool { return a.name == b.name })
}

// appendEscaped appends s as it stands between the quotes of encoding/json, without its escapes for HTML.
func appendEscaped(dst []byte, s string) []byte {
	clean := 0 // s[clean:i] needs no escape
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		isEscaped := r < ' ' || r == '"' || r == '\\' || r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029'
		if isEscaped {
			dst = append(dst, s[clean:i]...)
			if r < utf8.RuneSelf {
				dst = appendASCIIEscape(dst, byte(r))
			} else {
				dst = appendUnicodeEscape(dst, r)
			}
			clean = i + size
		}
		i += size
	}
	return append(dst, s[clean:]...)
}

// appendShown appends a number as pdata's AsString has it: as JavaScript does.
func appendShown(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if abs := math.Abs(f); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-7, not e-07
		dst = dst[:n-1]
	}
	return dst
}
