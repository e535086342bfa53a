// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// values are of all kinds; some have one text.
var values = []serieskey.Value{
	serieskey.IntValue(7), serieskey.StringValue("7"), serieskey.DoubleValue(7), serieskey.DoubleValue(7.5), serieskey.StringValue("7.5"),
	serieskey.BoolValue(true), serieskey.StringValue("true"), serieskey.StringValue(""), serieskey.StringValue("x"),
}

// collide makes the hashes of labels alike, for two of three seeds: all of them, or half.
func collide(e *Emitter, seed uint64) {
	if mask := seed % 3; mask < 2 {
		hash := e.byLabels.hash
		e.byLabels.hash = func(labels string) uint64 { return hash(labels) & mask }
	}
}

// asText is what a backend holds that knows texts only, and no empty ones.
func asText(attributes map[string]any) string {
	labels := map[string]string{}
	for name, value := range attributes {
		if text := fmt.Sprint(value); text != "" {
			labels[name] = text
		}
	}
	return fmt.Sprint(labels)
}

// textBackend plays a backend whose labels are text, and adds up what it takes for the increase of each series.
type textBackend struct {
	t        *testing.T
	delta    bool
	last     map[string]pmetric.NumberDataPoint
	increase map[string]int64
}

func (b *textBackend) take(list []pmetric.Metrics) {
	for _, metrics := range list {
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range m.Sum().DataPoints().All() {
					if !p.Flags().NoRecordedValue() {
						b.add(asText(p.Attributes().AsRaw()), p)
					}
				}
			}
		}
	}
}

func (b *textBackend) add(labels string, p pmetric.NumberDataPoint) {
	last, known := b.last[labels]
	if known {
		assert.Less(b.t, last.Timestamp(), p.Timestamp(), "%s has two points at a time, or is out of order", labels)
	}
	b.last[labels] = p
	b.increase[labels] += p.IntValue()
	if !b.delta && known && last.StartTimestamp() == p.StartTimestamp() {
		assert.LessOrEqual(b.t, last.IntValue(), p.IntValue(), "%s falls", labels)
		b.increase[labels] -= last.IntValue()
	}
}

// Whatever kinds the values of keys have, in whatever order keys come, are dropped and come back, a backend that holds
// them as text has every record.
func TestKindsOfOneText(t *testing.T) {
	for seed := range uint64(evidence.Rounds(100, 20_000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		delta := seed%2 == 0
		e := New(Settings{Since: at(0), Delta: delta})
		collide(e, seed)
		backend := &textBackend{t: t, delta: delta, last: map[string]pmetric.NumberDataPoint{}, increase: map[string]int64{}}
		want := map[string]int64{}
		held := map[string]store.Total{}
		for round := range 12 {
			for range r.IntN(5) {
				key := serieskey.Key{Metric: "m"}
				for _, name := range []string{"a", "b"} {
					if r.IntN(3) > 0 {
						key.Attributes = append(key.Attributes, serieskey.Attribute{Name: name, Value: values[r.IntN(len(values))]})
					}
				}
				n := r.IntN(9) + 1
				one, known := held[key.String()]
				if !known {
					one = store.Total{Key: key.String(), Start: at(10*round + 1)}
				}
				one.Value += n
				held[one.Key] = one
				want[asText(raw(key.Attributes))] += int64(n)
			}
			order := slices.Sorted(maps.Keys(held))
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			var list []store.Total
			for _, key := range order {
				list = append(list, held[key])
			}
			sink := new(consumertest.MetricsSink)
			c, err := e.Collect(totals(list...), nil, at(10*round+10))
			require.NoError(t, err)
			require.NoError(t, c.Send(t.Context(), sink))
			backend.take(sink.AllMetrics())
			require.Equal(t, want, backend.increase, "seed %d, round %d", seed, round)
			maps.DeleteFunc(held, func(string, store.Total) bool { return r.IntN(4) == 0 }) // as `forget_after` does
		}
	}
}

func raw(attributes []serieskey.Attribute) map[string]any {
	m := map[string]any{}
	for _, a := range attributes {
		m[a.Name] = a.Value.AsString()
	}
	return m
}

// A metric that can have one key only is there before its first record.
func TestZeroBeforeTheFirstRecord(t *testing.T) {
	const key = `["m",{},{}]`
	e := New(Settings{Since: at(0), StaleAfter: 15 * time.Second, Metrics: []string{"m"}})
	describe := []store.Description{{Metric: "m", Key: key}, {Metric: "other", Key: `["other",{},{}]`}}
	collect := func(now int, list ...store.Total) []string {
		sink := new(consumertest.MetricsSink)
		c, err := e.Collect(totals(list...), describe, at(now))
		require.NoError(t, err)
		require.NoError(t, c.Send(t.Context(), sink))
		return lines(sink.AllMetrics())
	}
	assert.Equal(t, []string{"map[] m map[] 10s-10.001s 0"}, collect(10))
	assert.Equal(t, []string{"map[] m map[] 10s-20s 0"}, collect(20))
	assert.Equal(t, []string{"map[] m map[] 10s-40s 0"}, collect(40), "it does not end for being idle")
	assert.Equal(t, []string{"map[] m map[] 10s-50s 3"}, collect(50, total(key, 3, 45)), "and goes on with its start")
	assert.Equal(t, []string{"map[] m map[] 10s-1m0s 4"}, collect(60, total(key, 4, 45)))
	assert.Equal(t, []string{"map[] m map[] 1m10s-1m10.001s 0"}, collect(70), "dropped, it is at 0 again")
}
