// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"encoding/json"
	"math"
)

// Wanted is a value that somebody writes to find keys by it. It finds the value in each kind: a number every number
// that equals it, 7 the int 7 and the double 7.0, and any value every other that is shown as it is, 7 the string "7".
type Wanted struct {
	text   string
	number Value // the zero Value if it is none
}

// WantText returns what finds values by the text that Shown has of them.
func WantText(text string) Wanted { return Wanted{text: CleanName(text, 0)} }

// WantValue returns what finds values that are equal to v, or are shown as v is.
func WantValue(v Value) Wanted {
	w := Wanted{text: v.AsString()}
	if v.kind == Int || v.kind == Double {
		w.number = v
	}
	return w
}

// Want is WantText, or what finds a number as well if text is one in JSON.
func Want(text string) Wanted {
	w := WantText(text)
	w.number, _ = numberOf(text)
	return w
}

// Is says whether the value of a key is wanted, given its JSON text.
func (w Wanted) Is(text string) bool {
	if Shown(text) == w.text {
		return true
	}
	if w.number.kind == String {
		return false
	}
	n, ok := numberOf(text)
	return ok && equalNumbers(w.number, n)
}

// numberOf reads a number in JSON, in its canonical form or not.
func numberOf(text string) (Value, bool) {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return Value{}, false
	}
	n, err := decodeNumber(text)
	return n, err == nil
}

// equalNumbers compares as if numbers had all digits: no int becomes a double, which may have too few.
func equalNumbers(a, b Value) bool {
	switch {
	case a.kind == b.kind:
		return a.bits == b.bits
	case a.kind == Double:
		return equalNumbers(b, a)
	}
	f := b.Double()
	return f == math.Trunc(f) && f >= math.MinInt64 && f < -math.MinInt64 && int64(f) == a.Int()
}
