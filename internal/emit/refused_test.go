// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// Whatever is refused, dropped, idle and comes back, no series falls or goes back in time, no labels have two series,
// and when the store is empty nothing of it is left.
func TestKindsWhileRefused(t *testing.T) {
	for seed := range uint64(evidence.Rounds(500, 50_000)) {
		r := rand.New(rand.NewPCG(seed, 7))
		settings := Settings{Since: at(0), Delta: seed%2 == 0}
		if !settings.Delta && seed%3 == 0 {
			settings.StaleAfter = 25 * time.Second
		}
		e := New(settings)
		backend := &textBackend{t: t, delta: settings.Delta, last: map[string]pmetric.NumberDataPoint{}, increase: map[string]int64{}}
		held := map[string]store.Total{}
		collect := func(round int, accept bool) {
			sink := new(consumertest.MetricsSink)
			var next consumer.Metrics = sink
			if !accept {
				next, _ = consumer.NewMetrics(func(context.Context, pmetric.Metrics) error { return errors.New("away") })
			}
			var list []store.Total
			for _, key := range slices.Sorted(maps.Keys(held)) {
				list = append(list, held[key])
			}
			r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			c, err := e.Collect(totals(list...), nil, at(10*round+10))
			require.NoError(t, err)
			assert.Equal(t, accept || c.Len() == 0, c.Send(t.Context(), next) == nil)
			backend.take(sink.AllMetrics())
		}
		for round := range 3 + r.IntN(12) {
			for range r.IntN(3) {
				key := serieskey.Key{Metric: "m", Attributes: []serieskey.Attribute{{Name: "a", Value: values[r.IntN(3)]}}}.String()
				one, known := held[key]
				if !known {
					one = store.Total{Key: key, Start: at(10*round + 1)}
				}
				one.Value, one.Last = one.Value+1+r.IntN(9), at(10*round+1)
				held[key] = one
			}
			collect(round, r.IntN(1+int(seed%7)) == 0)
			for _, key := range slices.Sorted(maps.Keys(held)) {
				if r.IntN(3) == 0 {
					delete(held, key)
				}
			}
		}
		clear(held)
		collect(20, true)
		collect(21, true)
		require.Zero(t, e.series.Len(), "seed %d", seed)
		require.Zero(t, e.byLabels.len(), "seed %d", seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A receiver and a connector may have one id. Each knows what it has emitted itself.
func TestReadersOfOneID(t *testing.T) {
	held := memory.New()
	held.Add(`["m",{},{}]`, 5)
	for _, want := range []map[string]int64{{"receiver": 5, "connector": 5}, {"connector": 0, "receiver": 0}} {
		for scope, n := range want {
			r, err := NewReader(held, Settings{Scope: scope, ID: "tally", Delta: true})
			require.NoError(t, err)
			c, err := r.Collect(t.Context())
			require.NoError(t, err)
			sink := new(consumertest.MetricsSink)
			require.NoError(t, c.Send(t.Context(), sink))
			var sum int64
			for _, metrics := range sink.AllMetrics() {
				sum += metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).IntValue()
			}
			assert.Equal(t, n, sum, "of the %s", scope)
			r.Close()
		}
	}
}
