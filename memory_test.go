// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package tallyprocessor

// Figures of memory and time mean nothing under the race detector. `make test` runs these tests a second time, without
// it.

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
)

// heap returns the bytes of live objects.
func heap() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// resident returns the memory of the process as the kernel sees it.
func resident(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	return string(regexp.MustCompile(`VmRSS:\s*(.*)`).FindSubmatch(status)[1])
}

// A million distinct keys offered against a limit of 2000: the memory is that of 2000 keys and a sketch, the sum is
// exact.
func TestMemoryOfAMillionKeysOffered(t *testing.T) {
	const batches, size, limit = 1000, 1000, 2000
	store := NewMemoryStore()
	before := heap()
	h := start(t, testConfig(t, fmt.Sprintf(`logs: {m: {cardinality_limit: %d, attributes: [{key: user}]}}`, limit)), store, consumertest.NewNop())
	began := time.Now()
	for b := range batches {
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(size, func(i int, r plog.LogRecord) { r.Attributes().PutInt("user", int64(b*size+i)) })))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	took := time.Since(began)
	grown := heap() - before
	sum, keys := sumOf(t, store)
	t.Logf("%d keys offered, %d kept: %v, heap +%d KiB, resident %s", batches*size, keys, took.Round(time.Millisecond), grown>>10, resident(t))
	assert.Equal(t, batches*size, sum)
	assert.Equal(t, limit+1, keys)
	assert.Less(t, grown, int64(8<<20))
	overflows := store.Overflows("m", 5)
	assert.Len(t, overflows, 5)
	runtime.KeepAlive(h)
}

// Ten million keys that live for a second each, beside ten that stay: memory reaches a level, the ten keep their names
// and numbers, and the balance is exact.
func TestMemoryUnderChurn(t *testing.T) {
	const batches, size, alive, forgetAfter = 5000, 2000, 10, 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore(WithForgetAfter(forgetAfter))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go store.KeepForgetting(ctx)
		h := start(t, testConfig(t, `logs: {m: {cardinality_limit: 50000, attributes: [{key: pod}]}}`), store, consumertest.NewNop())
		var level, highest int64
		for b := range batches {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(size+alive, func(i int, r plog.LogRecord) {
				if i < alive {
					r.Attributes().PutInt("pod", int64(-i))
				} else {
					r.Attributes().PutInt("pod", int64(b*size+i))
				}
			})))
			time.Sleep(time.Second) // of the bubble's time
			switch {
			case b == batches/20:
				level = heap()
			case b > batches/20 && b%500 == 0:
				highest = max(highest, heap())
			}
		}
		synctest.Wait() // until those of this second are forgotten
		sum, keys := sumOf(t, store)
		forgotten := store.Forgotten()["m"]
		t.Logf("%d keys, %d left, heap %d KiB after 5 %%, at most %d KiB later", batches*size, keys, level>>10, highest>>10)
		assert.Equal(t, batches*(size+alive), sum+forgotten.Total, "counted = sum over keys + forgotten")
		assert.Less(t, highest, 2*level, "all of them would be 300 times that")
		assert.Zero(t, h.number(t, "records_overflowed"))
		for i := range alive {
			assert.Equal(t, batches, store.Get(fmt.Sprintf(`["m",{"service.name":"checkout"},{"pod":%d}]`, -i)))
		}
		assert.EqualValues(t, keys, h.number(t, "keys"), "the limit knows the keys that the store has, and no others")
		assert.EqualValues(t, forgotten.Total, h.number(t, "sum_forgotten"))
		require.NoError(t, h.Shutdown(t.Context()))
	})
}
