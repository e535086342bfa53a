// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// A value has one text, whether OTTL yields it as pdata, as a part of it, or as Go values.
func TestTextOfGoValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := valuetest.Any(3, false).Draw(t, "value").Value()
		limit := rapid.IntRange(0, 60).Draw(t, "limit")
		want, wantCut := serieskey.Text(v, limit)
		forms := []any{v}
		switch v.Type() {
		case pcommon.ValueTypeEmpty:
		case pcommon.ValueTypeMap:
			forms = append(forms, v.Map(), v.AsRaw())
		case pcommon.ValueTypeSlice:
			forms = append(forms, v.Slice(), v.AsRaw())
			parts := []pcommon.Value{}
			for _, part := range v.Slice().All() {
				parts = append(parts, part)
			}
			forms = append(forms, parts)
		default:
			forms = append(forms, v.AsRaw())
		}
		for _, form := range forms {
			got, wasCut, err := serieskey.TextOf(form, limit)
			require.NoError(t, err)
			require.Equal(t, want, got, "%T at %d", form, limit)
			require.Equal(t, wantCut, wasCut)
		}
	})
}

// Lists and maps of any Go type are as encoding/json has them, but for its escapes for HTML.
func TestTextOfOtherGoTypes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	for _, v := range []any{
		[]string{"<a>", "b"},
		[]string(nil),
		[]string{},
		map[string]string{"b": "&", "a": ""},
		map[string]any(nil),
		[]int64{1},
		[2]uint8{1, 2},
		[]any{nil, []byte("x"), []byte(nil), int32(7), uint64(math.MaxUint64), float32(0.5), at, time.Second},
		map[int]string{1: "a"},
		map[string]any{"t": pcommon.TraceID{1}, "m": map[string][]string{"x": {"y"}}},
		true, int64(-7), 7, uint8(7), json.Number("7"),
	} {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		require.NoError(t, e.Encode(v))
		got, _, err := serieskey.TextOf(v, 0)
		require.NoError(t, err)
		assert.Equal(t, strings.Trim(want.String(), "\n\""), got, "%T", v)
	}
	for want, v := range map[string]any{
		"2026-01-02T02:04:05.000000006Z": at, "1m0s": time.Minute, "01000000000000000000000000000000": pcommon.TraceID{1},
		"AAEC": []byte{0, 1, 2}, "": []byte(nil), "<>": "<>", "NaN": math.NaN(),
	} {
		got, wasCut, err := serieskey.TextOf(v, 0)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.False(t, wasCut)
		if got, wasCut, _ = serieskey.TextOf(v, 1); len(want) > 1 {
			assert.Equal(t, want[:1], got)
			assert.True(t, wasCut)
		}
	}
	for _, v := range []any{func() {}, make(chan int), []any{"secret", func() {}}, map[string]any{"a": complex(1, 1)}} {
		_, _, err := serieskey.TextOf(v, 0)
		assert.ErrorContains(t, err, "has no text")
		assert.NotContains(t, err.Error(), "secret")
	}
}

// Go values are followed no deeper than those of pdata.
func TestTextOfDeepGoValues(t *testing.T) {
	for _, depth := range []int{serieskey.MaxDepth, serieskey.MaxDepth + 1, 100_000} {
		var list, object, typed any
		for range depth {
			list, object, typed = []any{list}, map[string]any{"a": object}, [1]any{typed}
		}
		for _, v := range []any{list, object, typed} {
			text, wasCut, err := serieskey.TextOf(v, 0)
			require.NoError(t, err)
			assert.Equal(t, depth > serieskey.MaxDepth, wasCut)
			assert.Equal(t, serieskey.MaxDepth, strings.Count(text, "[")+strings.Count(text, "{"))
		}
	}
}
