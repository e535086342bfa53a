// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/commit"
	"github.com/logtally/tallyprocessor/internal/evidence"
)

// An answer without an error says that the counts are on disk, and it comes with the flush that began after they were
// added.
func TestDurableWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newKeepingStore()
		store.set(time.Second, nil)
		h := start(t, durableConfig(t, ""), store, consumertest.NewNop())
		began := time.Now()
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, 3, store.onDisk())

		// One that comes in the middle of a flush is in the next one.
		done := make(chan time.Duration, 2)
		send := func() {
			assert.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
			done <- time.Since(began)
		}
		began = time.Now()
		go send()
		time.Sleep(300 * time.Millisecond)
		go send()
		assert.Equal(t, time.Second, <-done)
		assert.Equal(t, 4, store.onDisk())
		assert.Equal(t, 2*time.Second, <-done)
		assert.Equal(t, 5, store.onDisk())

		waited, err := h.telemetry.GetMetric("otelcol_processor_tally_commit_duration")
		require.NoError(t, err)
		assert.NotNil(t, waited.Data)
		require.NoError(t, h.Shutdown(t.Context()))
	})
}

// A batch of which nothing is counted, and one without records, wait for nothing.
func TestDurableHasNothingToWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newKeepingStore()
		store.set(time.Hour, nil)
		h := start(t, durableConfig(t, `logs: {never: {conditions: ["false"]}}`), store, consumertest.NewNop())
		began := time.Now()
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		require.NoError(t, h.ConsumeLogs(t.Context(), plog.NewLogs()))
		assert.Zero(t, time.Since(began))
		require.Error(t, h.Shutdown(t.Context()), "the last flush is too slow")
	})
}

// A store that panics while it flushes fails, as any other that does not flush.
func TestFault_worker_flush_panics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &panickingKeepingStore{newKeepingStore(), atomic.Int32{}}
		store.left.Store(3)
		h := start(t, durableConfig(t, ""), store, consumertest.NewNop())
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		assert.Equal(t, 3, store.onDisk())
		assert.EqualValues(t, 3, h.number(t, "store_errors"))
		require.NoError(t, h.Shutdown(t.Context()))
		evidence.Report(t, evidence.Figure{
			Rows: []int{22}, Claim: "`durable`: the store panics while it flushes, and is asked again until it has the counts",
			Rounds: 3, Unit: "panics", Fired: 3, Counts: 3, Lost: int64(3 - store.onDisk()),
		})
	})
}

// panickingKeepingStore panics in its first flushes.
type panickingKeepingStore struct {
	*keepingStore
	left atomic.Int32
}

func (s *panickingKeepingStore) Flush(ctx context.Context) error {
	if s.left.Add(-1) >= 0 {
		panic("page 7")
	}
	return s.keepingStore.Flush(ctx)
}

// Many senders share a flush.
func TestDurableGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders, each = 64, 10
		store := newKeepingStore()
		store.set(time.Second, nil)
		h := start(t, durableConfig(t, ""), store, consumertest.NewNop())
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					assert.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
				}
			})
		}
		wg.Wait()
		assert.LessOrEqual(t, store.flushes, 2*each+1)
		assert.Equal(t, senders*each, store.onDisk())
		require.NoError(t, h.Shutdown(t.Context()))
	})
}

// When the disk fails, batches that went on already keep waiting, and are confirmed when it works again; later ones are
// not forwarded before that.
func TestFault_storage_durable_disk_full(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.LogsSink)
		store := newKeepingStore()
		store.set(0, errDisk)
		h := start(t, durableConfig(t, ""), store, sink)
		errs := make(chan error, 2)
		go func() { errs <- h.ConsumeLogs(t.Context(), logs(3, nil)) }()
		synctest.Wait()
		assert.Equal(t, 3, sink.LogRecordCount())
		go func() { errs <- h.ConsumeLogs(t.Context(), logs(4, nil)) }()
		time.Sleep(time.Hour)
		assert.Empty(t, errs)
		assert.Equal(t, 3, sink.LogRecordCount(), "what cannot be confirmed does not go on")
		assert.EqualValues(t, 2, h.number(t, "queue_size"))
		assert.EqualValues(t, 4, h.number(t, "records_in_flight"), "the others are counted")
		h.requireConserved(t)
		failures := h.number(t, "store_errors")
		assert.Greater(t, failures, int64(3000), "it is tried again and again")

		store.set(0, nil)
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		assert.Equal(t, 7, sink.LogRecordCount())
		assert.Equal(t, 7, store.onDisk())
		assert.Zero(t, h.number(t, "records_unconfirmed"))
		assert.Zero(t, h.number(t, "queue_size"))
		h.requireConserved(t)
		require.NoError(t, h.Shutdown(t.Context()))
		evidence.Report(t, evidence.Figure{
			Rows: []int{37}, Claim: "`durable`: while the disk is full nothing more is forwarded, and all is confirmed when it works again",
			Rounds: 1, Fired: int(failures), Counts: 7, Lost: int64(7 - store.onDisk()),
		})
	})
}

// The policies of a full queue hold for a disk that fails, too.
func TestDurablePoliciesWhileTheDiskFails(t *testing.T) {
	for policy, check := range map[FullPolicy]func(*testing.T, *harness, error, time.Duration){
		FullBlock: func(t *testing.T, h *harness, err error, waited time.Duration) {
			require.ErrorIs(t, err, commit.ErrStoreFails)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Minute, waited)
			assert.EqualValues(t, 4, h.number(t, "records_not_counted", "reason=rejected"))
		},
		FullReject: func(t *testing.T, h *harness, err error, waited time.Duration) {
			require.ErrorIs(t, err, commit.ErrStoreFails)
			assert.Zero(t, waited)
			assert.EqualValues(t, 4, h.number(t, "records_not_counted", "reason=rejected"))
		},
		FullSkip: func(t *testing.T, h *harness, err error, waited time.Duration) {
			require.NoError(t, err)
			assert.Zero(t, waited)
			assert.EqualValues(t, 4, h.number(t, "records_not_counted", "reason=skipped"))
		},
	} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := new(consumertest.LogsSink)
				store := newKeepingStore()
				store.set(0, errDisk)
				h := start(t, durableConfig(t, "queue: {on_full: "+string(policy)+"}"), store, sink)
				first := make(chan error, 1)
				go func() { first <- h.ConsumeLogs(t.Context(), logs(3, nil)) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				err := h.ConsumeLogs(ctx, logs(4, nil))
				assert.False(t, consumererror.IsPermanent(err))
				check(t, h, err, time.Since(began))
				store.set(0, nil)
				require.NoError(t, <-first)
				require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)), "it works again")
				h.requireConserved(t)
				require.NoError(t, h.Shutdown(t.Context()))
				assert.Equal(t, 4, store.onDisk())
			})
		})
	}
}

// A sender whose deadline passes while its counts are not on disk gets an error after which it sends again. The logs
// went on, so they count; what it sends again goes on, and counts, again.
func TestDurableDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.LogsSink)
		store := newKeepingStore()
		store.set(1500*time.Millisecond, nil)
		h := start(t, durableConfig(t, "queue: {queue_size: 1, on_full: reject}"), store, sink)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := h.ConsumeLogs(ctx, logs(3, nil))
		require.ErrorIs(t, err, commit.ErrUnconfirmed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, consumererror.IsPermanent(err))
		assert.Equal(t, 3, store.Get(key))
		assert.Zero(t, store.onDisk())
		assert.EqualValues(t, 3, h.number(t, "records_unconfirmed"))
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(3, nil)))
		assert.Equal(t, 6, sink.LogRecordCount())
		assert.Equal(t, 6, store.onDisk())
		h.requireConserved(t)
		require.NoError(t, h.Shutdown(t.Context()))
	})
}

// A flush that takes long stops the flow in front of the next consumer until it is over.
func TestFault_storage_durable_slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.LogsSink)
		store := newKeepingStore()
		store.set(10*time.Second, nil)
		h := start(t, durableConfig(t, ""), store, sink)
		began := time.Now()
		answered := make(chan time.Duration, 2)
		send := func(n int) {
			assert.NoError(t, h.ConsumeLogs(t.Context(), logs(n, nil)))
			answered <- time.Since(began)
		}
		go send(3)
		time.Sleep(commit.StalledAfter + time.Second)
		go send(4)
		time.Sleep(time.Second)
		assert.Equal(t, 3, sink.LogRecordCount(), "the flush has stalled")
		assert.Equal(t, 10*time.Second, <-answered)
		synctest.Wait()
		assert.Equal(t, 7, sink.LogRecordCount())
		assert.Equal(t, 20*time.Second, <-answered)
		assert.Equal(t, 7, store.onDisk())
		store.set(0, nil)
		require.NoError(t, h.Shutdown(t.Context()))
		evidence.Report(t, evidence.Figure{
			Rows: []int{44}, Claim: "`durable` with 10 s a write: nothing is confirmed early, and what comes meanwhile waits before it is forwarded",
			Rounds: 2, Fired: store.flushes, Counts: 7, Lost: int64(7 - store.onDisk()),
		})
	})
}

// Shutdown ends in its time with a disk that fails, and whoever waits gets an error.
func TestFault_lifecycle_durable_shutdown_dead_disk(t *testing.T) {
	for name, delay := range map[string]time.Duration{"fails": 0, "hangs": 1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newKeepingStore()
				store.set(delay, errDisk)
				h := start(t, durableConfig(t, ""), store, consumertest.NewNop())
				waits, isHeld := make(chan error, 1), make(chan error, 1)
				go func() { waits <- h.ConsumeLogs(context.Background(), logs(3, nil)) }()
				time.Sleep(time.Minute)
				go func() { isHeld <- h.ConsumeLogs(context.Background(), logs(3, nil)) }()
				synctest.Wait()
				began := time.Now()
				require.Error(t, h.Shutdown(context.Background()))
				took := time.Since(began)
				assert.LessOrEqual(t, took, defaultShutdownTimeout)
				require.ErrorIs(t, <-waits, commit.ErrUnconfirmed)
				require.ErrorIs(t, <-isHeld, commit.ErrStopped)
				synctest.Wait() // for the last flush
				evidence.Report(t, evidence.Figure{
					Rows: []int{25}, Claim: "`durable`: shutdown with a disk that " + name + " ends within `shutdown_timeout`, and nobody is told that counts are kept",
					Rounds: 1, Fired: store.flushes, Note: "took " + took.String(),
				})
			})
		})
	}
}

// What stands in the queue is on disk when its sender is told so, and a sender that gives up in the queue leaves no
// place too many, nor too few.
func TestDurableBehindASlowWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gatedKeepingStore{keepingStore: newKeepingStore(), gate: make(chan struct{})}
		h := start(t, durableConfig(t, "queue: {queue_size: 2, num_consumers: 1, on_full: reject}"), store, consumertest.NewNop())
		errs := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			go func() { errs <- h.ConsumeLogs(ctx, logs(1, nil)) }()
		}
		require.ErrorIs(t, <-errs, commit.ErrUnconfirmed)
		require.ErrorIs(t, <-errs, commit.ErrUnconfirmed)
		assert.EqualValues(t, 2, h.number(t, "queue_size"), "the worker is not through with them")
		h.requireConserved(t)
		require.ErrorIs(t, h.ConsumeLogs(t.Context(), logs(1, nil)), errQueueFull)
		close(store.gate)
		synctest.Wait()
		assert.Zero(t, h.number(t, "queue_size"))
		for range 4 {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
		}
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, 6, store.onDisk())
	})
}

type gatedKeepingStore struct {
	*keepingStore
	unbound
	gate chan struct{}
}

func (s *gatedKeepingStore) Self() MetricStore { return s }

func (s *gatedKeepingStore) Add(key string, n int) {
	<-s.gate
	s.keepingStore.Add(key, n)
}

// deafStore is a store whose Flush heeds no context.
type deafStore struct {
	*keepingStore
	release chan struct{}
}

func (s deafStore) Flush(context.Context) error {
	<-s.release
	return nil
}

// A call without a deadline, as the processor `batch` makes them, ends with Shutdown, also when the store does not let
// go of its flush.
func TestDurableShutdownWithADeafStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := deafStore{newKeepingStore(), make(chan struct{})}
		h := start(t, durableConfig(t, ""), store, consumertest.NewNop())
		errs := make(chan error, 1)
		go func() { errs <- h.ConsumeLogs(context.Background(), logs(3, nil)) }()
		time.Sleep(time.Minute)
		began := time.Now()
		require.Error(t, h.Shutdown(context.Background()))
		assert.Equal(t, defaultShutdownTimeout, time.Since(began))
		synctest.Wait()
		select {
		case err := <-errs:
			require.ErrorIs(t, err, commit.ErrUnconfirmed)
		default:
			assert.Fail(t, "the call is held for ever")
		}
		close(store.release)
	})
}
