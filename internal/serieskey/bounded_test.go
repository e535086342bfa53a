// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// A text that fits is pdata's; one that does not is cut where a string of that text would be.
func TestTextIsThatOfPdata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := valuetest.Any(4, true).Draw(t, "value").Value()
		full := v.AsString()
		limit := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(max(0, len(full)-3), len(full)+3)).Draw(t, "limit")
		want, wantCut := serieskey.Cut(full, limit)
		got, wasCut := serieskey.Text(v, limit)
		if got != want || wasCut != wantCut {
			t.Fatalf("%q of %q at %d, cut: %v", got, full, limit, wasCut)
		}
		compact := serieskey.AppendCompact([]byte("before"), v, limit)
		switch v.Type() {
		case pcommon.ValueTypeInt, pcommon.ValueTypeDouble, pcommon.ValueTypeBool:
		default:
			assert.Equal(t, serieskey.AppendCompactCut([]byte("before"), want, wantCut), compact)
		}
	})
}

// JSON has no text for NaN, and so pdata none for what holds one: nor has a text that reaches it.
func TestTextOfWhatHoldsNoNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := valuetest.Any(3, false).Draw(t, "value").Value()
		text, wasCut := serieskey.Text(v, 0)
		assert.Equal(t, v.AsString(), text)
		assert.False(t, wasCut)
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		if text, _ := serieskey.Text(v, limit); len(text) > limit {
			t.Fatalf("%q is longer than %d", text, limit)
		}
	})
}

// Up to MaxDepth a text is pdata's, and beyond it ends where the list or map begins that is too deep, whatever the
// limit.
func TestTextIsNoDeeperThanMaxDepth(t *testing.T) {
	for _, inMaps := range []bool{false, true} {
		for _, depth := range []int{0, 1, serieskey.MaxDepth - 1, serieskey.MaxDepth, serieskey.MaxDepth + 1, 1000} {
			v := valuetest.Nested(depth, inMaps).Value()
			full := v.AsString()
			tooDeep := depth > serieskey.MaxDepth
			assert.Equal(t, tooDeep, serieskey.IsTooDeep(v))
			want := full
			if tooDeep {
				want = full[:strings.Index(full, strings.Repeat("[", serieskey.MaxDepth))+serieskey.MaxDepth]
				if inMaps {
					want = strings.Repeat(`{"a":`, serieskey.MaxDepth)
				}
			}
			for _, limit := range []int{0, 1, 30, len(want) - 1, len(want), len(want) + 1} {
				short, wasCut := serieskey.Cut(want, limit)
				got, cut := serieskey.Text(v, limit)
				assert.Equal(t, short, got)
				assert.Equal(t, wasCut || tooDeep, cut, "%d deep at %d", depth, limit)
			}
		}
	}
	both := valuetest.List(valuetest.Int(1), valuetest.Nested(serieskey.MaxDepth, false), valuetest.Int(2)).Value()
	text, wasCut := serieskey.Text(both, 0)
	assert.True(t, wasCut && serieskey.IsTooDeep(both))
	assert.Equal(t, `[1,`+strings.Repeat("[", serieskey.MaxDepth-1), text)
}

// A map has its members by name whatever their order and number, and of members of one name the last.
func TestTextOfManyMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-c]{0,3}`), 0, 500).Draw(t, "names")
		members := make([][]byte, len(names))
		for i, name := range names {
			members[i] = valuetest.Member(name, valuetest.Int(int64(i)))
		}
		v := valuetest.Map(members...).Value()
		limit := rapid.IntRange(1, 300).Draw(t, "limit")
		want, wantCut := serieskey.Cut(v.AsString(), limit)
		got, wasCut := serieskey.Text(v, limit)
		if want != got || wantCut != wasCut {
			t.Fatalf("%q instead of %q", got, want)
		}
	})
}
