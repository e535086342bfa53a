// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/logtally/tallyprocessor"
)

const (
	memoryKeys = 1_000_000
	// keyText is how long the text of a key of BenchmarkMemory is.
	keyText = len(`["c",{"service.name":"checkout"},{"user.id":"user-00000000"}]`)
)

func user(n int) string { return fmt.Sprintf("user-%08d", n) }

// BenchmarkMemory counts a million keys once and weighs what is left of it on the heap: for tally that is the store,
// the limit and all that finds a key again. Each Counter of the others has the same two labels.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name  string
		count func(b *testing.B) (keep any)
	}{
		{"tally", func(b *testing.B) any {
			p := startTally(b, byUser, tallyprocessor.NewMemoryStore())
			const atOnce = 10 * recordsPerBatch
			for from := 0; from < memoryKeys; from += atOnce {
				for _, ld := range users(b, min(atOnce, memoryKeys-from), func(i int) int { return from + i }) {
					require.NoError(b, p.ConsumeLogs(context.Background(), ld))
				}
			}
			return p
		}},
		{"client_golang", func(*testing.B) any {
			c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c"}, []string{"service_name", "user_id"})
			for n := range memoryKeys {
				c.WithLabelValues("checkout", user(n)).Inc()
			}
			return c
		}},
		{"otel_sdk", func(b *testing.B) any {
			reader := sdkmetric.NewManualReader()
			provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0))
			c, err := provider.Meter("bench").Int64Counter("c")
			require.NoError(b, err)
			for n := range memoryKeys {
				c.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(
					attribute.String("service.name", "checkout"), attribute.String("user.id", user(n)))))
			}
			return provider
		}},
	} {
		b.Run("by="+c.name, func(b *testing.B) {
			for b.Loop() {
				before := liveHeap()
				keep := c.count(b)
				perKey := float64(liveHeap()-before) / memoryKeys
				b.ReportMetric(perKey-float64(keyText), "B/key")
				b.ReportMetric(float64(keyText), "key-B")
				runtime.KeepAlive(keep)
			}
		})
	}
}

// liveHeap returns the bytes of live objects.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
