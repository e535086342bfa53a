// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/aggregate"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// world makes random settings and logs that have much in common.
type world struct {
	*rand.Rand
	parser *Parser
}

var worldKeys = []string{"a", "b", "c", "d", "http.route"}

func (w world) settings(t *testing.T) Settings {
	s := Settings{
		ValueLengthLimit: []int{0, 1, 4, 256}[w.IntN(4)],
		KeyLengthLimit:   []int{0, 8, 4096}[w.IntN(3)],
	}
	if w.IntN(2) == 0 {
		s.ResourceAttributes = []string{"r"}
	}
	for n := range 1 + w.IntN(5) {
		m := Metric{Name: fmt.Sprint("m", n), Amount: Amount{Bytes: w.IntN(4) == 0}}
		for _, key := range w.Perm(len(worldKeys))[:w.IntN(5)] {
			a := Attribute{Key: worldKeys[key], KeepOnOverflow: w.IntN(3) == 0}
			switch w.IntN(3) {
			case 0:
				text := serieskey.StringValue("x")
				a.Default = &text
			case 1:
				a.Optional = true
			}
			m.Attributes = append(m.Attributes, a)
		}
		for range w.IntN(3) {
			c, err := w.parser.Condition([]string{
				`severity_number >= SEVERITY_NUMBER_INFO`, `attributes["a"] == "x"`, `attributes["b"] != nil`,
				`resource.attributes["r"] == "x"`, `Len(severity_text) > 2`, `Int(attributes["c"]) > 1`,
			}[w.IntN(6)])
			require.NoError(t, err)
			m.Conditions = append(m.Conditions, c)
		}
		s.Metrics = append(s.Metrics, m)
	}
	return s
}

func (w world) logs() plog.Logs {
	ld := plog.NewLogs()
	for range w.IntN(4) {
		rl := ld.ResourceLogs().AppendEmpty()
		w.attributes(rl.Resource().Attributes(), "r", "a", "d")
		for range w.IntN(3) {
			sl := rl.ScopeLogs().AppendEmpty()
			w.attributes(sl.Scope().Attributes(), "a", "c")
			for range []int{0, 1, 2, 63, 64, 65, 128, 129, 200}[w.IntN(9)] {
				r := sl.LogRecords().AppendEmpty()
				r.SetSeverityNumber(plog.SeverityNumber(w.IntN(25)))
				r.SetSeverityText([]string{"", "INFO", "E"}[w.IntN(3)])
				w.attributes(r.Attributes(), worldKeys...)
			}
		}
	}
	ld.MarkReadOnly()
	return ld
}

// attributes sets each of some attributes in two of three cases.
func (w world) attributes(m pcommon.Map, keys ...string) {
	for _, key := range keys {
		if w.IntN(3) > 0 {
			w.value(m.PutEmpty(key))
		}
	}
}

func (w world) value(v pcommon.Value) {
	switch w.IntN(12) {
	default:
		v.SetStr([]string{"x", "y", "", "xäy", "xää", "xyz\xff", "xyz\xfe", "a much longer value", "a much longer\x85value"}[w.IntN(9)])
	case 0:
		v.SetInt(int64(w.IntN(3)))
	case 1:
		v.SetDouble([]float64{0, math.Copysign(0, -1), 1, 1.5, math.NaN(), math.Float64frombits(0x7ff8000000000123), math.Inf(1)}[w.IntN(7)])
	case 2:
		v.SetBool(w.IntN(2) == 0)
	case 3:
		v.SetEmptyBytes().FromRaw([]byte([]string{"", "x"}[w.IntN(2)]))
	case 4:
		v.SetEmptyMap().PutStr("a", "x")
	case 5:
		v.SetEmptySlice().AppendEmpty().SetStr("x")
	case 6: // stays empty
	}
}

// answer is all that can be asked of a Batch.
type answer struct {
	series     map[string]aggregate.Sums // by key and overflow key
	len        int
	counted    []int64
	notCounted []NotCounted
	presence   []string
	failed     bool
}

func ask(t *testing.T, x *Extractor, ld plog.Logs) answer {
	t.Helper()
	b, err := x.Extract(t.Context(), ld)
	require.NoError(t, err)
	defer b.Release()
	a := answer{series: map[string]aggregate.Sums{}, len: b.Len()}
	for i := range b.Len() {
		s := b.Series(i)
		key := string(b.AppendOverflowKey(nil, i))
		if !s.TooLong {
			key += string(b.AppendKey(nil, i))
		}
		sums := a.series[key]
		a.series[key] = aggregate.Sums{Records: sums.Records + s.Records, Amount: sums.Amount + s.Amount}
	}
	a.counted = append(a.counted, b.Counted()...)
	a.notCounted = append(a.notCounted, b.NotCounted()...)
	for m := range x.metrics {
		for attribute, present := range b.Presence(m) {
			a.presence = append(a.presence, fmt.Sprint(m, attribute, present))
		}
	}
	_, err = b.Error()
	a.failed = err != nil
	require.Nil(t, b.lanes)
	l := x.lanes.Get().(*lanes) // that of this call, or of another
	requireEmpty(t, l)
	x.lanes.Put(l)
	return a
}

// requireEmpty fails when lanes keep anything of the logs.
func requireEmpty(t *testing.T, l *lanes) {
	t.Helper()
	require.True(t, reflect.ValueOf(l.records).IsZero(), "records")
	require.Zero(t, l.rows.Len())
	for i := range l.columns {
		require.True(t, reflect.ValueOf(l.columns[i].Values).IsZero(), "column %d", i)
		require.Zero(t, l.columns[i].outer.Values[0], "column %d", i)
	}
}

// slow returns an Extractor that counts each record by its identity, and has OTTL evaluate each condition.
func slow(s Settings) *Extractor {
	metrics := make([]Metric, len(s.Metrics))
	copy(metrics, s.Metrics)
	for i := range metrics {
		metrics[i].Conditions = append([]Condition(nil), metrics[i].Conditions...)
		for k := range metrics[i].Conditions {
			metrics[i].Conditions[k].plain = nil
		}
	}
	s.Metrics = metrics
	x := New(s)
	for i := range x.metrics {
		x.metrics[i].plain = false
	}
	return x
}

// The fast way gives the answers of the plain way, for any settings and logs, from one batch to the next.
func TestFastWayIsThePlainWay(t *testing.T) {
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	seed := rand.Uint64()
	reasons := NotCounted{}
	for n := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, n)), parser}
		s := w.settings(t)
		fast, plain := New(s), slow(s)
		for range 4 {
			ld := w.logs()
			got := ask(t, fast, ld)
			require.Equal(t, ask(t, plain, ld), got, "seed %d, %d", seed, n)
			for _, r := range got.notCounted {
				reasons.Condition += r.Condition
				reasons.MissingAttribute += r.MissingAttribute
				reasons.ConditionError += r.ConditionError
			}
		}
	}
	assert.Positive(t, reasons.Condition)
	assert.Positive(t, reasons.MissingAttribute)
	assert.Positive(t, reasons.ConditionError)
}
