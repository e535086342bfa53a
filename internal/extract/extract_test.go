// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/aggregate"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

func conditions(t testing.TB, texts ...string) []Condition {
	t.Helper()
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	var list []Condition
	for _, text := range texts {
		c, err := parser.Condition(text)
		require.NoError(t, err)
		list = append(list, c)
	}
	return list
}

// counts extracts logs and returns what they add up to, by key.
func counts(t testing.TB, x *Extractor, ld plog.Logs) (map[string]int64, []NotCounted) {
	t.Helper()
	ld.MarkReadOnly()
	b, err := x.Extract(t.Context(), ld)
	require.NoError(t, err)
	got := map[string]int64{}
	byMetric := make([]int64, len(x.metrics))
	for i := range b.Len() {
		series := b.Series(i)
		key := string(b.AppendKey(nil, i))
		got[key] += series.Amount
		byMetric[series.Metric] += series.Records
		_, err := serieskey.Decode(key)
		assert.NoError(t, err, key)
	}
	assert.Equal(t, byMetric, b.Counted())
	return got, b.NotCounted()
}

// add adds a record to a resource and scope of their own.
func add(ld plog.Logs, resource, scope, record map[string]any) plog.LogRecord {
	rl := ld.ResourceLogs().AppendEmpty()
	_ = rl.Resource().Attributes().FromRaw(resource)
	sl := rl.ScopeLogs().AppendEmpty()
	_ = sl.Scope().Attributes().FromRaw(scope)
	r := sl.LogRecords().AppendEmpty()
	_ = r.Attributes().FromRaw(record)
	return r
}

type attrs = map[string]any

func TestLookUpOrder(t *testing.T) {
	fallback := serieskey.IntValue(7)
	x := New(Settings{
		ResourceAttributes: []string{},
		Metrics:            []Metric{{Name: "m", Attributes: []Attribute{{Key: "z"}, {Key: "a", Default: &fallback}}}},
	})
	ld := plog.NewLogs()
	add(ld, attrs{"z": "resource"}, attrs{"z": "scope"}, attrs{"z": "record"})
	add(ld, attrs{"z": "resource"}, attrs{"z": "scope"}, nil)
	add(ld, attrs{"z": "resource"}, nil, nil)
	add(ld, nil, nil, attrs{"z": "record", "a": int64(7)})
	add(ld, nil, nil, attrs{"z": "record", "a": "7"})
	add(ld, nil, nil, attrs{"z": "record", "a": 7.0})
	add(ld, nil, nil, attrs{"a": 1})
	got, notCounted := counts(t, x, ld)
	assert.Equal(t, map[string]int64{
		`["m",{},{"a":7,"z":"record"}]`:   2, // the default and the same value of a record are one key
		`["m",{},{"a":7,"z":"scope"}]`:    1,
		`["m",{},{"a":7,"z":"resource"}]`: 1,
		`["m",{},{"a":"7","z":"record"}]`: 1,
		`["m",{},{"a":7.0,"z":"record"}]`: 1,
	}, got)
	assert.Equal(t, []NotCounted{{MissingAttribute: 1}}, notCounted)
}

func TestResourceAttributes(t *testing.T) {
	logs := func() plog.Logs {
		ld := plog.NewLogs()
		add(ld, attrs{"service.name": "a", "host": "h1", "n": 1}, nil, nil)
		add(ld, attrs{"n": 1, "host": "h1", "service.name": "a"}, nil, nil) // the same in another order
		add(ld, attrs{"service.name": "a", "host": "h2"}, nil, nil)
		add(ld, nil, nil, nil)
		return ld
	}
	for name, tt := range map[string]struct {
		selected []string
		want     map[string]int64
	}{
		"all": {nil, map[string]int64{
			`["m",{"host":"h1","n":1,"service.name":"a"},{}]`: 2, `["m",{"host":"h2","service.name":"a"},{}]`: 1, `["m",{},{}]`: 1,
		}},
		"none": {[]string{}, map[string]int64{`["m",{},{}]`: 4}},
		"some": {[]string{"service.name", "absent"}, map[string]int64{`["m",{"service.name":"a"},{}]`: 3, `["m",{},{}]`: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := counts(t, New(Settings{ResourceAttributes: tt.selected, Metrics: []Metric{{Name: "m"}}}), logs())
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestOddResourceNames(t *testing.T) {
	ld := plog.NewLogs()
	add(ld, attrs{"\xff": 1, "\xfe": 2, strings.Repeat("n", 20): 3, strings.Repeat("n", 21): 4, "": 5, "v": strings.Repeat("x", 20)}, nil, nil)
	got, _ := counts(t, New(Settings{ValueLengthLimit: 16, Metrics: []Metric{{Name: "m"}}}), ld)
	require.Len(t, got, 1, "names that become one name are one attribute")
	for key := range got {
		k, err := serieskey.Decode(key)
		require.NoError(t, err)
		assert.Len(t, k.Resource, 4)
	}
}

func TestConditions(t *testing.T) {
	ld := plog.NewLogs()
	add(ld, attrs{"env": "prod"}, nil, attrs{"code": 500}).SetSeverityText("ERROR")
	add(ld, attrs{"env": "prod"}, nil, attrs{"code": 200}).SetSeverityText("INFO")
	add(ld, attrs{"env": "test"}, nil, attrs{"code": 500}).Body().SetStr("no JSON")
	x := New(Settings{ResourceAttributes: []string{}, Metrics: []Metric{
		{Name: "with context", Conditions: conditions(t, `log.attributes["code"] >= 500 and resource.attributes["env"] == "prod"`)},
		{Name: "without context", Conditions: conditions(t, `attributes["code"] >= 500 and resource.attributes["env"] == "prod"`)},
		{Name: "any of them", Conditions: conditions(t, `severity_text == "ERROR"`, `resource.attributes["env"] == "test"`)},
		{Name: "one fails, another is met", Conditions: conditions(t, `ParseJSON(body)["a"] == 1`, `severity_text == "ERROR"`)},
		{Name: "then the attributes", Conditions: conditions(t, `attributes["code"] == 500`), Attributes: []Attribute{{Key: "missing"}}},
	}})
	got, notCounted := counts(t, x, ld)
	assert.Equal(t, map[string]int64{
		`["with context",{},{}]`: 1, `["without context",{},{}]`: 1, `["any of them",{},{}]`: 2, `["one fails, another is met",{},{}]`: 1,
	}, got)
	assert.Equal(t, []NotCounted{{Condition: 2}, {Condition: 2}, {Condition: 1}, {ConditionError: 2}, {Condition: 1, MissingAttribute: 2}}, notCounted)
}

func TestStopOnError(t *testing.T) {
	ld := plog.NewLogs()
	add(ld, nil, nil, nil).Body().SetStr("no JSON")
	x := New(Settings{StopOnError: true, Metrics: []Metric{{Name: "m", Conditions: conditions(t, `ParseJSON(body)["a"] == 1`)}}})
	_, err := x.Extract(t.Context(), ld)
	require.ErrorContains(t, err, `metric "m"`)
}

func TestConditionError(t *testing.T) {
	ld := plog.NewLogs()
	add(ld, nil, nil, nil).Body().SetStr("no JSON")
	x := New(Settings{Metrics: []Metric{{Name: "fine"}, {Name: "m", Conditions: conditions(t, `ParseJSON(body)["a"] == 1`)}}})
	b, err := x.Extract(t.Context(), ld)
	require.NoError(t, err)
	metric, conditionErr := b.Error()
	assert.Equal(t, 1, metric)
	require.Error(t, conditionErr)
	b.Release()
	b, err = x.Extract(t.Context(), plog.NewLogs())
	require.NoError(t, err)
	_, conditionErr = b.Error()
	assert.NoError(t, conditionErr, "nothing of it is left in the next batch")
}

func TestParseErrorSaysWhere(t *testing.T) {
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	_, err = parser.Condition(`attributes["a"] == == 1`)
	assert.ErrorContains(t, err, "1:20")
	for _, text := range []string{``, `nonsense`, `attributes["a"]`, `Unknown(body) == 1`, `span.name == "a"`, `log.nonsense == 1`, `set(body, "x")`} {
		_, err := parser.Condition(text)
		assert.Error(t, err, text)
	}
}

// With a hash that makes all identities collide every count is the same as without.
func TestForcedCollisions(t *testing.T) {
	fallback := serieskey.StringValue("")
	x := New(Settings{Metrics: []Metric{
		{Name: "a", Attributes: []Attribute{{Key: "x"}, {Key: "y", Default: &fallback}}}, {Name: "b", Attributes: []Attribute{{Key: "x"}}}, {Name: "c"},
	}})
	logs := func() plog.Logs {
		ld := plog.NewLogs()
		for i := range 400 {
			add(ld, attrs{"r": fmt.Sprint(i % 3)}, nil, attrs{"x": int64(i % 50), "y": strings.Repeat("y", i%7)})
		}
		return ld
	}
	want, _ := counts(t, x, logs())
	collide := func([]byte) uint64 { return 42 }
	x.batches.New = func() any {
		return newBatch(x, aggregate.NewTableWithHash(collide), aggregate.NewTableWithHash(collide))
	}
	got, _ := counts(t, x, logs())
	assert.Equal(t, want, got)
	if len(want) != 400+150+3 {
		t.Errorf("%d keys", len(want))
	}
}

// What separates the parts of an identity must not come from the values: "a"+"bc" is not "ab"+"c".
func TestSeparatorsCannotBeForged(t *testing.T) {
	x := New(Settings{ResourceAttributes: []string{}, Metrics: []Metric{{Name: "m", Attributes: []Attribute{{Key: "x"}, {Key: "y"}}}}})
	ld := plog.NewLogs()
	for _, v := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {`a","y":"`, "bc"}, {"a\x00", "bc"}, {"as\x02bc", ""}} {
		add(ld, nil, nil, attrs{"x": v[0], "y": v[1]})
	}
	got, _ := counts(t, x, ld)
	assert.Len(t, got, 7)
}

func TestOverflowKeys(t *testing.T) {
	x := New(Settings{Metrics: []Metric{{Name: "m", Attributes: []Attribute{{Key: "x"}}}}})
	ld := plog.NewLogs()
	add(ld, attrs{"service.name": "a"}, nil, attrs{"x": 1})
	b, err := x.Extract(t.Context(), ld)
	require.NoError(t, err)
	assert.Equal(t, `["m",{"service.name":"a"},{"otel.metric.overflow":true}]`, string(b.AppendOverflowKey(nil, 0)))
	assert.Equal(t, `["m",{},{"otel.metric.overflow":true}]`, x.LastKey(0))
	_, err = serieskey.Decode(x.LastKey(0))
	assert.NoError(t, err)
}

func TestCutValues(t *testing.T) {
	x := New(Settings{ValueLengthLimit: 4, Metrics: []Metric{{Name: "m", Attributes: []Attribute{{Key: "x"}}}}})
	ld := plog.NewLogs()
	add(ld, attrs{"r": "12345"}, nil, attrs{"x": "1234"})
	add(ld, attrs{"r": "12345"}, nil, attrs{"x": "12345"})
	got, _ := counts(t, x, ld)
	assert.Equal(t, map[string]int64{`["m",{"r":"1234"},{"x":"1234"}]`: 2}, got)

	b, err := x.Extract(t.Context(), ld)
	require.NoError(t, err)
	for i := range b.Len() {
		b.AppendKey(nil, i)
	}
	assert.EqualValues(t, 2, b.CutValues(), "one of the resource, one of the record")
	assert.True(t, b.ResourceWasCut(0))
	b.Release()
	b, err = x.Extract(t.Context(), ld)
	require.NoError(t, err)
	assert.Zero(t, b.CutValues())
}
