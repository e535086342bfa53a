// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

// totals yields what a store would.
func totals(list ...store.Total) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		for _, t := range list {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func total(key string, value, start int) store.Total {
	return store.Total{Key: key, Value: value, Start: at(start)}
}

// lines renders what a sink got: resource, metric, attributes, start, time, value; one line a point.
func lines(list []pmetric.Metrics) []string {
	var got []string
	for _, metrics := range list {
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					for _, p := range m.Sum().DataPoints().All() {
						value := fmt.Sprint(p.IntValue())
						if p.Flags().NoRecordedValue() {
							value = "end"
						}
						got = append(got, fmt.Sprintf("%v %s %v %v-%v %s", rm.Resource().Attributes().AsRaw(), m.Name(), p.Attributes().AsRaw(),
							p.StartTimestamp().AsTime().Sub(began), p.Timestamp().AsTime().Sub(began), value))
					}
				}
			}
		}
	}
	return got
}

// emit collects and sends, and returns what arrived.
func emit(t *testing.T, e *Emitter, now int, list ...store.Total) []string {
	t.Helper()
	sink := new(consumertest.MetricsSink)
	c, err := e.Collect(totals(list...), nil, at(now))
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), sink))
	return lines(sink.AllMetrics())
}

const (
	keyA = `["m",{"s":"x"},{"a":1}]`
	keyB = `["m",{"s":"x"},{"a":2}]`
)

func TestCumulative(t *testing.T) {
	e := New(Settings{Since: at(0)})
	assert.Equal(t, []string{
		"map[s:x] m map[a:1] 1s-1s 0", "map[s:x] m map[a:1] 1s-10s 5", // a zero point at its start, then the total
	}, emit(t, e, 10, total(keyA, 5, 1)))
	assert.Equal(t, []string{
		"map[s:x] m map[a:1] 1s-20s 5", "map[s:x] m map[a:2] 12s-12s 0", "map[s:x] m map[a:2] 12s-20s 1",
	}, emit(t, e, 20, total(keyB, 1, 12), total(keyA, 5, 1)), "the start is constant; what has not changed is sent all the same")
}

func TestNoZeroPointForAnOldKey(t *testing.T) {
	e := New(Settings{Since: at(100)})
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-2m0s 7", "map[s:x] m map[a:2] 1m40s-1m40s 0", "map[s:x] m map[a:2] 1m40s-2m0s 1"},
		emit(t, e, 120, total(keyA, 7, 1), total(keyB, 1, 100)))
}

func TestDelta(t *testing.T) {
	e := New(Settings{Delta: true, Since: at(0)})
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-10s 5"}, emit(t, e, 10, total(keyA, 5, 1)))
	assert.Empty(t, emit(t, e, 20, total(keyA, 5, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 10s-30s 2"}, emit(t, e, 30, total(keyA, 7, 1)), "each interval starts where the last ended")
}

func TestDeltaOfARestoredKey(t *testing.T) {
	e := New(Settings{Delta: true, Since: at(100)})
	restored := total(keyA, 7, 1)
	restored.Restored = 5
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1m40s-1m50s 2"}, emit(t, e, 110, restored))
}

// A send that fails loses nothing: the next one carries it. Payloads that were accepted are not sent again as deltas.
func TestFailedSend(t *testing.T) {
	for _, delta := range []bool{false, true} {
		e := New(Settings{Delta: delta, Since: at(0)})
		failure := errors.New("away")
		failing, _ := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error { return failure })
		for n := range 6 { // for a minute
			c, err := e.Collect(totals(total(keyA, 5+n, 1)), nil, at(10+10*n))
			require.NoError(t, err)
			require.ErrorIs(t, c.Send(t.Context(), failing), failure)
		}
		got := emit(t, e, 70, total(keyA, 12, 1))
		if delta {
			assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m10s 12"}, got)
		} else {
			assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1s 0", "map[s:x] m map[a:1] 1s-1m10s 12"}, got)
		}
	}
}

func TestOnePayloadFails(t *testing.T) {
	e := New(Settings{Delta: true, Since: at(0)})
	var list []store.Total
	for i := range 3 * maxPoints {
		list = append(list, total(fmt.Sprintf(`["m",{"s":%d},{"a":%d}]`, i%7, i), 1, 1))
	}
	calls, received := 0, 0
	next, _ := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
		assert.LessOrEqual(t, m.DataPointCount(), maxPoints)
		if calls++; calls == 2 {
			return errors.New("away")
		}
		received += m.DataPointCount()
		return nil
	})
	c, err := e.Collect(totals(list...), nil, at(10))
	require.NoError(t, err)
	assert.Equal(t, 3*maxPoints, c.Len())
	require.Error(t, c.Send(t.Context(), next))
	assert.Equal(t, 2*maxPoints, received)
	c, err = e.Collect(totals(list...), nil, at(20))
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), next))
	assert.Equal(t, 3*maxPoints, received)
}

// The clock may go back a little, and two emissions may fall into one millisecond: the times of a series only go
// forward.
func TestTimesGoForward(t *testing.T) {
	e := New(Settings{Since: at(0)})
	assert.Equal(t, []string{"map[s:x] m map[a:1] 10s-10s 0", "map[s:x] m map[a:1] 10s-10.001s 1"}, emit(t, e, 10, total(keyA, 1, 10)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 10s-10.002s 2"}, emit(t, e, 10, total(keyA, 2, 10)))
}

// A clock that was ahead, and is set right, leaves no points in the future.
func TestClockThatWasAhead(t *testing.T) {
	e := New(Settings{Since: at(0)})
	assert.Equal(t, []string{"map[s:x] m map[a:1] 10s-10s 0", "map[s:x] m map[a:1] 10s-10.001s 110"}, emit(t, e, 10, total(keyA, 110, 7200)),
		"the store's clock was ahead when the key was first counted")
	assert.Equal(t, []string{"map[s:x] m map[a:1] 10s-20s 120"}, emit(t, e, 20, total(keyA, 120, 7200)))

	e = New(Settings{Since: at(0)})
	emit(t, e, 7200, total(keyA, 1, 7190))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 5s-5s 2"}, emit(t, e, 5, total(keyA, 2, 7190)), "the reader's was")
	assert.Equal(t, []string{"map[s:x] m map[a:1] 6s-6s 3"}, emit(t, e, 6, total(keyA, 3, 7190)))
}

// A total that fell has a new start, and no point of it is older than one that was sent.
func TestResetIsLater(t *testing.T) {
	e := New(Settings{Since: at(-3600)})
	emit(t, e, 10, total(keyA, 100, 0))
	emit(t, e, 20, total(keyA, 200, 0))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 20s-20.001s 0", "map[s:x] m map[a:1] 20s-30s 40"}, emit(t, e, 30, total(keyA, 40, 0)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 20s-40s 50"}, emit(t, e, 40, total(keyA, 50, 0)))
}

// Whatever the keys are, a payload fits into a gRPC message, zero points among it.
func TestPayloadsFit(t *testing.T) {
	const grpcLimit = 4 << 20
	r := rand.New(rand.NewPCG(1, 2))
	for _, shape := range []struct{ keys, attributes, resource, length, description int }{
		{4000, 8, 0, 240, 10}, {4000, 5, 1, 190, 10}, {9000, 1, 0, 1, 10}, {4000, 1, 30, 120, 10}, {3000, 0, 1, 2, 8192}, {1000, 100, 100, 1, 0},
	} {
		e := New(Settings{Since: at(0)})
		var list []store.Total
		for i := range shape.keys {
			k := serieskey.Key{Metric: "m"}
			for a := range shape.attributes + shape.resource {
				value := serieskey.StringValue(strings.Repeat("é", r.IntN(shape.length)/2) + strconv.Itoa(i))
				if a%3 == 0 {
					value = serieskey.DoubleValue(math.Round(r.Float64()*10) + float64(i)*16)
				}
				attribute := serieskey.Attribute{Name: fmt.Sprintf("a%03d", a), Value: value}
				if a < shape.attributes {
					k.Attributes = append(k.Attributes, attribute)
				} else {
					k.Resource = append(k.Resource, attribute)
				}
			}
			list = append(list, total(k.String(), math.MaxInt, 1))
		}
		points := 0
		next, _ := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
			points += m.DataPointCount()
			assert.LessOrEqual(t, m.DataPointCount(), maxPoints)
			assert.Less(t, (&pmetric.ProtoMarshaler{}).MetricsSize(m), grpcLimit, "%+v", shape)
			return nil
		})
		c, err := e.Collect(totals(list...), []store.Description{{Metric: "m", Description: strings.Repeat("d", shape.description)}}, at(10))
		require.NoError(t, err)
		require.NoError(t, c.Send(t.Context(), next))
		assert.Equal(t, 2*shape.keys, points)
	}
}

// A store that has begun anew, with a later start or a smaller total, is a new series.
func TestStoreBeginsAnew(t *testing.T) {
	for name, again := range map[string]store.Total{"later start": total(keyA, 50, 15), "smaller": total(keyA, 2, 1)} {
		t.Run(name, func(t *testing.T) {
			e := New(Settings{Delta: true, Since: at(0)})
			emit(t, e, 10, total(keyA, 5, 1))
			got := emit(t, e, 20, again)
			require.Len(t, got, 1)
			assert.Contains(t, got[0], fmt.Sprint(" ", again.Value))
		})
	}
}

func TestShapeOfThePayload(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	e := New(Settings{Scope: "scope", Version: "v1", Since: at(0), Metrics: []string{"m", "n"}})
	c, err := e.Collect(totals(
		total(`["n",{"s":"y"},{}]`, 1, 1), total(`["n",{"s":"x"},{}]`, 1, 1), total(`["m.more",{"s":"x"},{}]`, 1, 1),
		total(`["m",{"s":"x"},{"b":true,"d":1.5,"i":1,"t":"1"}]`, 1, 1),
	), []store.Description{{Metric: "m", Description: "M.", Unit: "{record}"}}, at(10))
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), sink))
	require.Len(t, sink.AllMetrics(), 1)
	resources := sink.AllMetrics()[0].ResourceMetrics()
	require.Equal(t, 2, resources.Len(), "one for each distinct set of resource attributes")
	scope := resources.At(0).ScopeMetrics().At(0)
	assert.Equal(t, "scope", scope.Scope().Name())
	assert.Equal(t, "v1", scope.Scope().Version())
	require.Equal(t, 2, scope.Metrics().Len(), "other metrics of the store are not ours to emit")
	m := scope.Metrics().At(0)
	assert.Equal(t, "m", m.Name())
	assert.Equal(t, "M.", m.Description())
	assert.Equal(t, "{record}", m.Unit())
	assert.True(t, m.Sum().IsMonotonic())
	assert.Equal(t, pmetric.AggregationTemporalityCumulative, m.Sum().AggregationTemporality())
	assert.Equal(t, map[string]any{"b": true, "d": 1.5, "i": int64(1), "t": "1"}, m.Sum().DataPoints().At(0).Attributes().AsRaw())
}

func TestForeignKeysAndErrors(t *testing.T) {
	e := New(Settings{Since: at(0)})
	c, err := e.Collect(totals(total("not a key", 1, 1), total(keyA, 1, 1)), nil, at(10))
	require.ErrorIs(t, err, errForeignKeys)
	assert.Equal(t, 2, c.Len(), "the others are sent")

	failure := errors.New("away")
	c, err = e.Collect(func(yield func(store.Total, error) bool) {
		_ = yield(total(keyA, 1, 1), nil) && yield(store.Total{}, failure)
	}, nil, at(20))
	require.ErrorIs(t, err, failure)
	assert.NotZero(t, c.Len())
}

func TestTemporalityWords(t *testing.T) {
	var word Temporality
	require.NoError(t, word.UnmarshalText([]byte("Delta")))
	assert.Equal(t, Delta, word)
	assert.ErrorContains(t, word.UnmarshalText([]byte("gauge")), "gauge")
}
