// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// onSmallStack runs f where a stack overflow comes with a fiftieth of the depth that Go's default allows. It ends the
// test process.
func onSmallStack(f func()) {
	defer debug.SetMaxStack(debug.SetMaxStack(20 << 20))
	var wg sync.WaitGroup
	wg.Go(f) // the stack of the caller is as large as it took to read the logs
	wg.Wait()
}

func expression(t testing.TB, text string) Expression {
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	e, err := parser.Expression(text)
	require.NoError(t, err)
	return e
}

// waysOfAValue are metrics that a value gets into in all ways: looked up, by a glob, from OTTL, hashed, as an amount
// and not at all.
func waysOfAValue(t testing.TB) (metrics []Metric) {
	for _, a := range []Attribute{
		{Key: "a", Optional: true}, {Key: "a*", Glob: true}, {Key: "a", Optional: true, Hash: true}, {Key: "a*", Glob: true, Hash: true},
	} {
		metrics = append(metrics, Metric{Attributes: []Attribute{a}})
	}
	for _, text := range []string{
		`attributes["a"]`, `body`, `resource.attributes["a"]`, `instrumentation_scope.attributes["a"]`, `attributes`, `[attributes["a"], "<", attributes]`,
		`{"b": attributes["a"]}`, `String(attributes["a"])`, `Format("%v", [body])`, `attributes["a"]["a"]["a"]`, `severity_text`,
	} {
		e := expression(t, text)
		metrics = append(metrics,
			Metric{Attributes: []Attribute{{Key: "k", Expression: e, Optional: true}}},
			Metric{Attributes: []Attribute{{Key: "k", Expression: e, Optional: true, Hash: true}}},
			Metric{Amount: Amount{Expression: e}})
	}
	for _, text := range []string{
		`attributes["a"] == "x"`, `attributes["a"] != body`, `attributes["a"] == attributes["a"] or true`, `resource.attributes["a"] != nil and true`,
		`IsMap(body)`, `IsMatch(String(body), "x")`,
	} {
		metrics = append(metrics, Metric{Conditions: conditions(t, text)})
	}
	metrics = append(metrics, Metric{}, Metric{Amount: Amount{Bytes: true}, Conditions: conditions(t, `severity_number > 20`)})
	for i := range metrics {
		metrics[i].Name = fmt.Sprint("m", i)
	}
	return metrics
}

// places are what a value may be in.
var places = []func(v valuetest.Bytes) valuetest.Record{
	func(v valuetest.Bytes) valuetest.Record {
		return valuetest.Record{Resource: [][]byte{valuetest.Member("a", v)}}
	},
	func(v valuetest.Bytes) valuetest.Record {
		return valuetest.Record{Scope: [][]byte{valuetest.Member("a", v)}}
	},
	func(v valuetest.Bytes) valuetest.Record {
		return valuetest.Record{Attributes: [][]byte{valuetest.Member("a", v)}}
	},
	func(v valuetest.Bytes) valuetest.Record { return valuetest.Record{Body: v} },
}

// However deep a value is nested, and whatever else it holds, each metric counts its record or enters why not, within
// the limits.
func TestAnyValueAnywhereIsCounted(t *testing.T) {
	settings := Settings{Metrics: waysOfAValue(t), ValueLengthLimit: 64, HashKey: bytes.Repeat([]byte{1}, 32)}
	bounded := New(settings)
	settings.ValueLengthLimit = 0
	unbounded := New(settings)
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.OneOf(rapid.IntRange(0, 2*serieskey.MaxDepth), rapid.IntRange(0, 100_000)).Draw(t, "depth")
		v := valuetest.Nested(depth, rapid.Bool().Draw(t, "in maps"))
		if rapid.Bool().Draw(t, "among others") {
			v = valuetest.List(valuetest.Any(2, false).Draw(t, "before"), v, valuetest.Any(2, false).Draw(t, "after"))
			depth++
		}
		ld, err := rapid.SampledFrom(places).Draw(t, "place")(v).Logs()
		require.NoError(t, err)
		ld.MarkReadOnly()
		for _, x := range []*Extractor{bounded, unbounded} {
			checkConserved(t, x, ld, depth > serieskey.MaxDepth)
		}
	})
}

// checkConserved counts a record, and says what OTTL was kept from.
func checkConserved(t require.TestingT, x *Extractor, ld plog.Logs, tooDeep bool) {
	var b *Batch
	var err error
	onSmallStack(func() { b, err = x.Extract(context.Background(), ld) })
	require.NoError(t, err)
	defer b.Release()
	for i, n := range b.NotCounted() {
		require.EqualValues(t, 1, b.Counted()[i]+n.Condition+n.MissingAttribute+n.ConditionError+n.ValueError, "metric %d", i)
		if usesOTTL := x.metrics[i].usesOTTL(); tooDeep && usesOTTL {
			require.Zero(t, n.Condition+n.MissingAttribute, "metric %d", i)
		}
	}
	if _, err := b.Error(); tooDeep {
		require.ErrorIs(t, err, ErrTooDeep)
	}
	limit := x.settings.ValueLengthLimit
	for i := range b.Len() {
		key, err := serieskey.Decode(string(b.AppendKey(nil, i)))
		require.NoError(t, err)
		for _, a := range append(key.Resource, key.Attributes...) {
			require.True(t, limit == 0 || len(a.Value.AsString()) <= limit)
		}
	}
}

// What is left out of a value that is nested too deep is counted as cut, also of one that is hashed, and without a
// limit.
func TestTooDeepIsCut(t *testing.T) {
	for depth, want := range map[int]int64{serieskey.MaxDepth: 0, serieskey.MaxDepth + 1: 1} {
		for _, hash := range []bool{false, true} {
			for _, key := range []string{"a", "a*"} {
				x := New(Settings{HashKey: []byte("key"), Metrics: []Metric{{Name: "m", Attributes: []Attribute{{Key: key, Glob: IsGlob(key), Hash: hash}}}}})
				ld, err := places[2](valuetest.Nested(depth, false)).Logs()
				require.NoError(t, err)
				b, err := x.Extract(t.Context(), ld)
				require.NoError(t, err)
				b.AppendKey(nil, 0)
				assert.Equal(t, want, b.CutValues(), "%s, %d deep, hash: %v", key, depth, hash)
			}
		}
	}
}

// OTTL is kept from a record for what is nested too deep in its own resource and scope, not in those of its neighbors.
func TestTooDeepNeighbors(t *testing.T) {
	x := New(Settings{ResourceAttributes: []string{}, Metrics: []Metric{{Name: "m", Conditions: conditions(t, `body == nil or true`)}}})
	all := plog.NewLogs()
	for range 2 {
		for _, place := range places {
			for _, depth := range []int{1, serieskey.MaxDepth + 1, serieskey.MaxDepth} {
				ld, err := place(valuetest.Nested(depth, false)).Logs()
				require.NoError(t, err)
				ld.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
			}
		}
	}
	got, notCounted := counts(t, x, all)
	assert.Equal(t, map[string]int64{`["m",{},{}]`: 16}, got)
	assert.Equal(t, []NotCounted{{ConditionError: 8}}, notCounted)
}

// Two million levels, more than Go's stack lets a receiver read, have a size.
func TestSizeOfWhatIsNestedDeep(t *testing.T) {
	ld := plog.NewLogs()
	v := add(ld, nil, nil, nil).Body()
	for range 2_000_000 {
		v = v.SetEmptyMap().PutEmpty("a")
	}
	got, _ := counts(t, New(Settings{Metrics: []Metric{{Name: "m", Amount: Amount{Bytes: true}}}}), ld)
	assert.Greater(t, got[`["m",{},{}]`], int64(8_000_000))
}

// A text of JSON or XML that nests deep is refused before OTTL has made values of it that overflow the stack.
func TestDeepTexts(t *testing.T) {
	const depth = 2_600_000
	for text, open := range map[string]string{
		`ParseJSON(body)`: "[", `ParseJSON(Concat(["{\"a\":", body], ""))`: `{"a":`, `ParseXML(body)`: "<a>", `ParseSimplifiedXML(body)`: "<a>",
		`GetXML(body, "/a")`: "<a>", `RemoveXML(body, "/b")`: "<a>", `ConvertAttributesToElementsXML(body)`: "<a>",
		`ConvertTextToElementsXML(body)`: "<a>", `InsertXML(body, "/a", "<b/>")`: "<a>", `InsertXML("<a/>", "/a", body)`: "<a>",
	} {
		t.Run(text, func(t *testing.T) {
			x := New(Settings{ValueLengthLimit: 64, Metrics: []Metric{{Name: "m", Attributes: []Attribute{{Key: "k", Expression: expression(t, text)}}}}})
			closing := map[string]string{"[": "]", `{"a":`: "}", "<a>": "</a>"}[open]
			for _, n := range []int{depth, 1000} {
				ld := plog.NewLogs()
				body := strings.Repeat(open, n) + map[string]string{`{"a":`: "1"}[open] + strings.Repeat(closing, n)
				if strings.Contains(text, "Concat") {
					body += "}"
				}
				add(ld, nil, nil, nil).Body().SetStr(body)
				got, notCounted := counts(t, x, ld)
				assert.EqualValues(t, 1, int64(len(got))+notCounted[0].ValueError)
				assert.Equal(t, n == 1000, len(got) == 1, "%d", n)
			}
		})
	}
}

// A list or map is no amount, and is not looked into to know it.
func TestAmountOfAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := valuetest.Any(2, false).Draw(t, "value").Value()
		got, err := amountOf(v)
		want, wantErr := amountOf(v.AsRaw())
		require.Equal(t, want, got)
		for _, is := range []error{errNoAmount, errNotANumber, errNegative, errNotIntegral, errTooLarge} {
			require.Equal(t, errors.Is(wantErr, is), errors.Is(err, is), "%v, %v", err, wantErr)
		}
	})
	assert.EqualError(t, func() error { _, err := amountOf(valuetest.List().Value()); return err }(), "sum is not a number: it is a slice")
}
