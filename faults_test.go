// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// A place is for a batch, however large: one that is larger than the queue goes through like any other.
func TestFault_queue_batch_larger_than_the_queue(t *testing.T) {
	const records, batches = 10_000, 5
	for _, policy := range []FullPolicy{FullBlock, FullReject, FullSkip} {
		store := NewMemoryStore()
		cfg := testConfig(t, `queue: {queue_size: 1, num_consumers: 1}`)
		cfg.Queue.OnFull = policy
		h := start(t, cfg, store, consumertest.NewNop())
		for range batches {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(records, nil)))
		}
		require.NoError(t, h.Shutdown(t.Context()))
		require.Equal(t, batches*records, store.Get(key))
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{21}, Claim: "batches of 10,000 records and a queue of size 1: all of them count, under each policy",
		Rounds: 3 * batches, Unit: "batches", Fired: 3 * batches, Counts: 3 * batches * records,
	})
}

// The next consumer takes the logs and changes them from another goroutine, after it has returned. Under -race this
// shows that nothing of them is read then.
func TestFault_next_changes_the_logs_later(t *testing.T) {
	const senders = 4
	batches := evidence.Rounds(2000, 100_000)
	var later sync.WaitGroup
	next, _ := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error {
		later.Go(func() {
			rl := ld.ResourceLogs().At(0)
			rl.Resource().Attributes().PutStr("service.name", "mallory")
			rl.ScopeLogs().At(0).LogRecords().At(0).Attributes().PutStr("user", "mallory")
			rl.ScopeLogs().RemoveIf(func(plog.ScopeLogs) bool { return true })
		})
		return nil
	}, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
	store := NewMemoryStore()
	h := start(t, testConfig(t, `{logs: {c: {attributes: [{key: user}]}}, queue: {queue_size: 4}}`), store, next)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range batches / senders {
				ld := plog.NewLogs()
				rl := ld.ResourceLogs().AppendEmpty()
				rl.Resource().Attributes().PutStr("service.name", "checkout")
				rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutStr("user", "alice")
				assert.NoError(t, h.ConsumeLogs(context.Background(), ld))
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.Shutdown(t.Context()))
	later.Wait()
	sum, keys := sumOf(t, store)
	assert.Equal(t, 1, keys)
	evidence.Report(t, evidence.Figure{
		Rows: []int{14}, Claim: "the next consumer changes the logs from another goroutine: the keys are those that came in",
		Rounds: batches, Unit: "batches", Fired: batches, Counts: int64(sum),
		Lost: int64(max(0, batches-store.Get(`["c",{"service.name":"checkout"},{"user":"alice"}]`))), Extra: int64(max(0, sum-batches)),
	})
}

// A context that ends while the next consumer is at work decides nothing: its answer does.
func TestFault_next_context_ends_during(t *testing.T) {
	for name, answer := range map[string]error{"accepts": nil, "refuses": errors.New("too late")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemoryStore()
				ctx, cancel := context.WithCancel(t.Context())
				next, _ := consumer.NewLogs(func(context.Context, plog.Logs) error { cancel(); return answer })
				h := start(t, createDefaultConfig().(*Config), store, next)
				assert.Equal(t, answer, h.ConsumeLogs(ctx, logs(3, nil)))
				require.NoError(t, h.Shutdown(t.Context()))
				want := 3
				if answer != nil {
					want = 0
				}
				assert.Equal(t, want, store.Get(key))
				evidence.Report(t, evidence.Figure{
					Rows: []int{7}, Claim: "the context ends while the next consumer " + name + ": its answer decides", Rounds: 1, Fired: 1, Counts: 3,
				})
			})
		})
	}
}

// Distinct keys without end, against a limit: the sum over all series stays exact, and the memory that of the limit.
func TestFault_input_cardinality_bomb(t *testing.T) {
	const size, limit = 1000, 2000
	batches := evidence.Rounds(200, 10_000)
	store := NewMemoryStore()
	h := start(t, testConfig(t, fmt.Sprintf(`logs: {m: {cardinality_limit: %d, attributes: [{key: user}]}}`, limit)), store, consumertest.NewNop())
	before := heapInUse()
	for b := range batches {
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(size, func(i int, r plog.LogRecord) { r.Attributes().PutInt("user", int64(b*size+i)) })))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	grown := heapInUse() - before
	sum, keys := sumOf(t, store)
	assert.LessOrEqual(t, keys, 2*limit+1)
	evidence.Report(t, evidence.Figure{
		Rows: []int{68}, Claim: "distinct keys without end: the sum over all series is exact, their number is bounded",
		Rounds: batches * size, Unit: "keys offered", Fired: batches*size - keys, Counts: int64(batches * size),
		Lost: int64(max(0, batches*size-sum)), Extra: int64(max(0, sum-batches*size)),
		Note: fmt.Sprintf("%d series kept, heap +%d KiB", keys, grown>>10),
	})
	runtime.KeepAlive(h)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A time in a record decides nothing.
func TestFault_clock_times_of_records(t *testing.T) {
	times := []pcommon.Timestamp{0, 1, math.MaxInt64, math.MaxUint64, pcommon.NewTimestampFromTime(time.Now().Add(24 * time.Hour)), pcommon.NewTimestampFromTime(time.Unix(-1, 0))}
	store := NewMemoryStore()
	h := start(t, createDefaultConfig().(*Config), store, consumertest.NewNop())
	before := time.Now()
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(len(times)*len(times), func(i int, r plog.LogRecord) {
		r.SetTimestamp(times[i%len(times)])
		r.SetObservedTimestamp(times[i/len(times)])
	})))
	require.NoError(t, h.Shutdown(t.Context()))
	for total, err := range store.Totals(t.Context()) {
		require.NoError(t, err)
		assert.False(t, total.Start.Before(before.Add(-time.Second)), "the times of a total are those of counting")
		assert.False(t, total.Last.After(time.Now().Add(time.Second)))
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{65}, Claim: "records from 1970, from the future, without a time: all count, and leave no mark on the times of totals",
		Rounds: len(times) * len(times), Unit: "records", Fired: len(times) * len(times), Counts: int64(len(times) * len(times)),
		Lost: int64(len(times)*len(times) - store.Get(key)),
	})
}

// The longest that Shutdown takes, with a store that never answers and a full queue, and whether what it says is lost
// is that.
func TestFault_lifecycle_longest_shutdown(t *testing.T) {
	const size, timeout = 20, 20 * time.Millisecond
	rounds := evidence.Rounds(20, 1000)
	var longest time.Duration
	for range rounds {
		store := newGatedStore()
		cfg := createDefaultConfig().(*Config)
		cfg.Queue = QueueConfig{NumConsumers: 1, QueueSize: size, OnFull: FullReject}
		cfg.ShutdownTimeout = timeout
		h := start(t, cfg, store, consumertest.NewNop())
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		<-store.waiting
		for range size {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		}
		began := time.Now()
		err := h.Shutdown(context.Background())
		longest = max(longest, time.Since(began))
		require.ErrorIs(t, err, errLost)
		require.ErrorContains(t, err, fmt.Sprintf("%d records", 3*(size+1)))
		store.open()
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{23, 25}, Claim: "shutdown with a full queue and a dead store: what it reports as lost is what was not counted",
		Rounds: rounds, Unit: "shutdowns", Fired: rounds, Counts: int64(rounds) * 3 * (size + 1),
		Note: fmt.Sprintf("`shutdown_timeout` is %s, the longest shutdown took %s", timeout, longest.Round(time.Millisecond)),
	})
}
