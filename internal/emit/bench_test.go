// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// BenchmarkEmission is an interval of a reader over many keys of which a part was counted since the one before: what it
// takes, and how much memory the reader has for each key besides the store.
func BenchmarkEmission(b *testing.B) {
	const keys = 100_000
	next, _ := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error { return nil })
	for _, changed := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("changed=%d%%", changed), func(b *testing.B) {
			list := make([]store.Total, keys)
			for i := range list {
				list[i] = total(fmt.Sprintf(`["http.requests",{"service.instance.id":"%d","service.name":"checkout"},{"http.route":"/cart/items","status":%d,"user":"u%d"}]`, i%100, 200+i%5, i), 5, 1)
				list[i].Last = at(2)
			}
			before := heap()
			e := New(Settings{Since: at(0)})
			var seq iter.Seq2[store.Total, error] = totals(list...)
			describe := []store.Description{{Metric: "http.requests", Description: "Requests.", Unit: "{request}"}}
			now := 10
			interval := func() {
				c, err := e.Collect(seq, describe, at(now))
				require.NoError(b, err)
				require.NoError(b, c.Send(b.Context(), next))
				now += 10
			}
			began := time.Now()
			interval()
			first, bytes := time.Since(began), heap()-before
			b.ReportAllocs()
			for b.Loop() {
				for i := range keys * changed / 100 {
					list[i*100/changed].Value++
				}
				interval()
			}
			b.ReportMetric(float64(first.Milliseconds()), "ms/first")
			b.ReportMetric(bytes/keys, "B/key")
			runtime.KeepAlive(e)
			runtime.KeepAlive(list)
		})
	}
}

// BenchmarkIdle is an interval of a Reader over many keys none of which was counted since the one before, in a store as
// it is used. A delta sends nothing then; a cumulative Reader sends all of them.
func BenchmarkIdle(b *testing.B) {
	const keys = 500_000
	store := memory.New()
	for i := range keys {
		store.Add(fmt.Sprintf(`["http.requests",{"service.instance.id":"%d","service.name":"checkout"},{"http.route":"/cart/items","status":%d,"user":"u%d"}]`, i%100, 200+i%5, i), 5)
	}
	points := 0
	next, _ := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
		points += m.DataPointCount()
		return nil
	})
	for _, temporality := range []Temporality{Delta, Cumulative} {
		b.Run(string(temporality), func(b *testing.B) {
			before := heap()
			r, err := NewReader(store, Settings{ID: b.Name(), Delta: temporality == Delta})
			require.NoError(b, err)
			interval := func() {
				c, err := r.Collect(b.Context())
				require.NoError(b, err)
				require.NoError(b, c.Send(b.Context(), next))
			}
			interval()
			bytes := heap() - before
			b.ReportAllocs()
			points = 0
			for b.Loop() {
				interval()
			}
			b.ReportMetric(float64(points)/float64(b.N), "points/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
			b.ReportMetric(bytes/keys, "B/key")
			runtime.KeepAlive(r)
		})
	}
}

// heap returns how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
