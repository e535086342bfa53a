// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Tags of the compact form. A tag says how many bytes follow, so no two lists of values have the same bytes.
const (
	tagString    = 's' // uvarint length, bytes
	tagCutString = 'c' // the same, of a string that was longer than the limit
	tagInt       = 'i' // 8 bytes
	tagDouble    = 'd' // 8 bytes
	tagTrue      = 't'
	tagFalse     = 'f'
	tagAbsent    = '-' // no value
)

// AppendAbsent appends what stands for an attribute that has no value and is no part of the key.
func AppendAbsent(dst []byte) []byte { return append(dst, tagAbsent) }

// NextIsAbsent says whether AppendAbsent wrote what comes first in a compact form. It must not be empty.
func NextIsAbsent(src []byte) bool { return src[0] == tagAbsent }

// SplitNext splits a compact form behind its first value.
func SplitNext(src []byte) (first, rest []byte) {
	size := 1
	switch src[0] {
	case tagInt, tagDouble:
		size += 8
	case tagString, tagCutString:
		n, length := binary.Uvarint(src[1:])
		size += length + int(n)
	}
	return src[:size], src[size:]
}

// AppendCompact appends the compact form of v to dst. Of a string it takes at most limit bytes (0 = all), cut where
// a character starts. Nothing of v is kept. A type that has no kind of its own is written as its Text.
func AppendCompact(dst []byte, v pcommon.Value, limit int) []byte {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return AppendCompactString(dst, v.Str(), limit)
	case pcommon.ValueTypeInt:
		return appendBits(dst, tagInt, uint64(v.Int()))
	case pcommon.ValueTypeBool:
		return appendBool(dst, v.Bool())
	case pcommon.ValueTypeDouble:
		return AppendCompactValue(dst, DoubleValue(v.Double()), limit)
	default:
		start := len(dst)
		text, wasCut := appendText(dst, v, limit)
		return insertHead(text, start, wasCut)
	}
}

// insertHead makes the text behind start what AppendCompactCut appends of it.
func insertHead(dst []byte, start int, wasCut bool) []byte {
	var head [1 + binary.MaxVarintLen64]byte
	return slices.Insert(dst, start, appendHead(head[:0], len(dst)-start, wasCut)...)
}

// AppendCompactValue appends the compact form of v, with the limit of AppendCompact.
func AppendCompactValue(dst []byte, v Value, limit int) []byte {
	switch v.kind {
	case Int:
		return appendBits(dst, tagInt, v.bits)
	case Double:
		return appendBits(dst, tagDouble, v.bits)
	case Bool:
		return appendBool(dst, v.Bool())
	default:
		return AppendCompactString(dst, v.str, limit)
	}
}

// AppendCompactString appends the compact form of a string, with the limit of AppendCompact.
func AppendCompactString(dst []byte, s string, limit int) []byte {
	s, wasCut := Cut(s, limit)
	return AppendCompactCut(dst, s, wasCut)
}

// Cut returns what AppendCompactString takes of a string, and whether that is less than all.
func Cut(s string, limit int) (_ string, wasCut bool) {
	if limit <= 0 || len(s) <= limit {
		return s, false
	}
	return cut(s, limit), true
}

// AppendCompactCut appends the compact form of what Cut has returned.
func AppendCompactCut(dst []byte, s string, wasCut bool) []byte {
	return append(appendHead(dst, len(s), wasCut), s...)
}

// appendHead appends what stands before the bytes of a string.
func appendHead(dst []byte, size int, wasCut bool) []byte {
	tag := byte(tagString)
	if wasCut {
		tag = tagCutString
	}
	return binary.AppendUvarint(append(dst, tag), uint64(size))
}

// CompactText returns the text of the string that src, a compact form, begins with.
func CompactText(src []byte) []byte {
	n, length := binary.Uvarint(src[1:])
	return src[1+length : 1+length+int(n)]
}

func appendBits(dst []byte, tag byte, bits uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, tag), bits)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, tagTrue)
	}
	return append(dst, tagFalse)
}

// cut returns the longest start of s that has at most limit bytes and does not end within a character.
func cut[S string | []byte](s S, limit int) S {
	end := limit
	for end > 0 && limit-end < utf8.UTFMax-1 && !utf8.RuneStart(s[end]) {
		end--
	}
	if !utf8.RuneStart(s[end]) {
		end = limit // not UTF-8 at all here: each byte is a character of its own
	}
	return s[:end]
}

// AppendNextText reads the first value of a compact form, appends its JSON text to dst, and returns that with what
// follows in src, and whether the value was cut. A string that is longer than limit once its invalid bytes have
// become U+FFFD is cut again. src must have been written by this package: it is not checked.
func AppendNextText(dst, src []byte, limit int) (text, rest []byte, wasCut bool) {
	tag, src := src[0], src[1:]
	switch tag {
	case tagTrue, tagFalse:
		return AppendValue(dst, BoolValue(tag == tagTrue)), src, false
	case tagInt:
		return AppendValue(dst, IntValue(int64(binary.LittleEndian.Uint64(src)))), src[8:], false
	case tagDouble:
		return AppendValue(dst, DoubleValue(math.Float64frombits(binary.LittleEndian.Uint64(src)))), src[8:], false
	}
	n, size := binary.Uvarint(src)
	s, rest := src[size:size+int(n)], src[size+int(n):]
	wasCut = tag == tagCutString
	if limit > 0 && !utf8.Valid(s) {
		if valid := string([]rune(string(s))); len(valid) > limit { // each invalid byte has become U+FFFD
			return AppendString(dst, cut(valid, limit)), rest, true
		}
	}
	return AppendString(dst, s), rest, wasCut
}

// CleanName returns an attribute name as it stands in a key: valid UTF-8 and at most limit bytes (0 = all). The
// result may be name itself.
func CleanName(name string, limit int) string {
	if limit > 0 && len(name) > limit {
		name = cut(name, limit)
	}
	if utf8.ValidString(name) {
		return name
	}
	name = string([]rune(name)) // each invalid byte becomes U+FFFD
	if limit > 0 && len(name) > limit {
		name = cut(name, limit)
	}
	return name
}
