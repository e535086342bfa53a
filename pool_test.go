// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/store"
)

// full starts a processor with one worker that is stuck in the store, and a queue of the given size that is full.
func full(t *testing.T, policy FullPolicy, size int, next consumer.Logs) (*harness, *gatedStore) {
	t.Helper()
	store := newGatedStore()
	cfg := createDefaultConfig().(*Config)
	cfg.Queue = QueueConfig{NumConsumers: 1, QueueSize: size, OnFull: policy}
	h := start(t, cfg, store, next)
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
	<-store.waiting // the worker has taken the first batch, so that the queue is empty now
	for i := range size {
		assert.EqualValues(t, i, h.number(t, "queue_size"))
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)), "there is room for batch %d of %d", i+1, size)
	}
	assert.EqualValues(t, size, h.number(t, "queue_size"))
	assert.EqualValues(t, size, h.number(t, "queue_capacity"))
	return h, store
}

// forSizes runs a test in a bubble at several queue sizes. Each fills the queue through n-1 and n; what comes next is
// n+1.
func forSizes(t *testing.T, test func(t *testing.T, size int)) {
	for _, size := range []int{1, 2, 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, size) })
		})
	}
}

// Row 18: the caller waits, nothing is forwarded meanwhile, nothing is lost, and all goes on when there is room.
func TestFault_queue_block(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		sink := new(consumertest.LogsSink)
		h, store := full(t, FullBlock, size, sink)
		done := make(chan error, 1)
		go func() { done <- h.ConsumeLogs(t.Context(), logs(1, nil)) }()
		synctest.Wait()
		time.Sleep(time.Hour) // of the bubble's time: it would wait for ever
		assert.Empty(t, done)
		assert.Equal(t, size+1, sink.LogRecordCount(), "not forwarded before there is a place")
		store.open()
		require.NoError(t, <-done)
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, size+2, store.Get(key))
		assert.Equal(t, size+2, sink.LogRecordCount())
		waited, err := h.telemetry.GetMetric("otelcol_processor_tally_queue_wait_duration")
		require.NoError(t, err)
		assert.Contains(t, fmt.Sprint(waited.Data), "3600", "the wait is in the histogram")
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{18}, Claim: "the queue is full, `block`: the sender waits, nothing is forwarded before, nothing is lost",
		Rounds: 3, Unit: "queue sizes", Fired: 3,
	})
}

// With `block` the wait ends with the caller's context, before anything is forwarded, and the sender may try again.
func TestBlockUntilTheCallersContextEnds(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		sink := new(consumertest.LogsSink)
		h, store := full(t, FullBlock, size, sink)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := h.ConsumeLogs(ctx, logs(4, nil))
		assert.Equal(t, 3*time.Second, time.Since(began))
		require.ErrorIs(t, err, errQueueFull)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, consumererror.IsPermanent(err))
		assert.Equal(t, size+1, sink.LogRecordCount())
		assert.EqualValues(t, 4, h.number(t, "records_not_counted", "reason=rejected"))
		h.requireConserved(t)
		store.open()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, size+1, store.Get(key))
	})
}

// Row 19: refused at once, retryably, before anything is forwarded; the retry is seen once downstream.
func TestFault_queue_reject(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		sink := new(consumertest.LogsSink)
		h, store := full(t, FullReject, size, sink)
		batch := logs(4, nil)
		began := time.Now()
		err := h.ConsumeLogs(t.Context(), batch)
		assert.Zero(t, time.Since(began))
		require.ErrorIs(t, err, errQueueFull)
		assert.False(t, consumererror.IsPermanent(err))
		assert.Equal(t, size+1, sink.LogRecordCount())
		store.open()
		synctest.Wait()
		require.NoError(t, h.ConsumeLogs(t.Context(), batch))
		assert.Equal(t, size+5, sink.LogRecordCount())
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, size+5, store.Get(key))
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{19}, Claim: "the queue is full, `reject`: refused before it is forwarded, and the retry counts once",
		Rounds: 3, Unit: "queue sizes", Fired: 3,
	})
}

// Row 20: forwarded without being counted, and a metric says exactly how much.
func TestFault_queue_skip(t *testing.T) {
	forSizes(t, func(t *testing.T, size int) {
		sink := new(consumertest.LogsSink)
		h, store := full(t, FullSkip, size, sink)
		for range 3 {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(4, nil)))
		}
		assert.Equal(t, size+13, sink.LogRecordCount())
		assert.EqualValues(t, 12, h.number(t, "records_not_counted", "reason=skipped"))
		h.requireConserved(t)
		store.open()
		synctest.Wait()
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
		synctest.Wait()
		assert.EqualValues(t, size+2, h.number(t, "records_counted"))
		h.requireConserved(t)
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, size+2, store.Get(key))
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{20}, Claim: "the queue is full, `skip`: forwarded, and counted + skipped = forwarded",
		Rounds: 3, Unit: "queue sizes", Fired: 9,
	})
}

func TestSkipPassesTheNextConsumersErrorOn(t *testing.T) {
	refusal := errors.New("no")
	calls := 0
	next, _ := consumer.NewLogs(func(context.Context, plog.Logs) error {
		if calls++; calls > 2 {
			return refusal
		}
		return nil
	})
	h, store := full(t, FullSkip, 1, next)
	assert.Equal(t, refusal, h.ConsumeLogs(t.Context(), logs(4, nil)))
	assert.EqualValues(t, 4, h.number(t, "records_not_counted", "reason=refused_downstream"))
	assert.Zero(t, h.number(t, "records_not_counted", "reason=skipped"))
	h.requireConserved(t)
	store.open()
}

// Row 6: a next consumer that never answers holds its callers, and no more than that.
func TestFault_next_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, _ := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error {
			<-ctx.Done()
			return ctx.Err()
		})
		cfg := createDefaultConfig().(*Config)
		cfg.Queue = QueueConfig{NumConsumers: 1, QueueSize: 2, OnFull: FullReject}
		h := start(t, cfg, NewMemoryStore(), next)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- h.ConsumeLogs(ctx, logs(1, nil)) }()
		}
		synctest.Wait()
		require.ErrorIs(t, h.ConsumeLogs(t.Context(), logs(1, nil)), errQueueFull, "places are taken while logs are forwarded")
		assert.EqualValues(t, 2, h.number(t, "records_in_flight"))
		cancel()
		require.ErrorIs(t, <-errs, context.Canceled)
		require.ErrorIs(t, <-errs, context.Canceled)
		h.requireConserved(t)
		require.NoError(t, h.Shutdown(t.Context()))
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{6}, Claim: "the next consumer never answers: callers wait as long as their context, and hold no more than their places",
		Rounds: 2, Unit: "calls", Fired: 2,
	})
}

// Row 24: a full queue and a slow store are drained completely.
func TestFault_lifecycle_shutdown_drains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{MemoryStore: NewMemoryStore(), delay: 10 * time.Millisecond}
		cfg := createDefaultConfig().(*Config)
		cfg.Queue = QueueConfig{NumConsumers: 2, QueueSize: 500, OnFull: FullBlock}
		h := start(t, cfg, store, consumertest.NewNop())
		for range 500 {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(7, nil)))
		}
		assert.Less(t, store.Get(key), 3500)
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, 3500, store.Get(key))
		assert.True(t, store.flushed.Load(), "the store is flushed at the end")
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{24}, Claim: "shutdown with a full queue and a slow store: all of it is counted",
		Rounds: 500, Unit: "batches", Fired: 500, Counts: 3500,
	})
}

type slowStore struct {
	*MemoryStore
	unbound //nolint:unused // it hides a method
	delay   time.Duration
	flushed atomic.Bool
	failure error
}

// Self makes the processor count by more than Inc.
func (s *slowStore) Self() MetricStore { return s }

func (s *slowStore) Add(key string, n int) {
	time.Sleep(s.delay)
	s.MemoryStore.Add(key, n)
}

func (s *slowStore) Flush(context.Context) error {
	s.flushed.Store(true)
	return s.failure
}

func TestShutdownReturnsTheErrorOfFlush(t *testing.T) {
	failure := errors.New("disk full")
	h := start(t, createDefaultConfig().(*Config), &slowStore{MemoryStore: NewMemoryStore(), failure: failure}, consumertest.NewNop())
	require.ErrorIs(t, h.Shutdown(t.Context()), failure)
}

// Row 23, 25: a store that never answers. Shutdown returns at the sooner of the two deadlines with the exact number of
// records that were not applied, by metric, and the same number stands in the metric.
func TestFault_worker_store_hangs(t *testing.T) {
	for _, tt := range []struct {
		name            string
		timeout, caller time.Duration
		want            time.Duration
	}{
		{"shutdown_timeout is sooner", 2 * time.Second, time.Minute, 2 * time.Second},
		{"the caller's deadline is sooner", time.Minute, 3 * time.Second, 3 * time.Second},
		{"the caller's deadline has passed", time.Minute, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newGatedStore()
				cfg := testConfig(t, `
logs: {all: {}, even: {conditions: ['attributes["i"] == 0']}}
queue: {queue_size: 100, num_consumers: 2}`)
				cfg.ShutdownTimeout = tt.timeout
				h := start(t, cfg, store, consumertest.NewNop())
				for range 50 {
					require.NoError(t, h.ConsumeLogs(t.Context(), logs(4, func(i int, r plog.LogRecord) { r.Attributes().PutInt("i", int64(i%2)) })))
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), tt.caller)
				defer cancel()
				began := time.Now()
				err := h.Shutdown(ctx)
				assert.Equal(t, tt.want, time.Since(began))
				require.ErrorIs(t, err, errLost)
				assert.ErrorContains(t, err, `200 records of metric "all"`)
				assert.ErrorContains(t, err, `100 records of metric "even"`)
				store.open()
				synctest.Wait()
				sum, _ := sumOf(t, store)
				assert.LessOrEqual(t, sum, 2*4, "but for the calls that were blocked then, the store is not touched any more")
			})
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{23, 25}, Claim: "the store never answers: shutdown ends at the sooner deadline, with the exact number of what is not counted",
		Rounds: 3, Unit: "deadlines", Fired: 3, Counts: 3 * 200,
	})
}

// The two-method store gets one call a record, so the number that is left is exact to the record.
func TestShutdownIsExactToTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &stuckAfter{left: 150, stuck: make(chan struct{})}
		cfg := createDefaultConfig().(*Config)
		cfg.Queue.NumConsumers = 1
		h := start(t, cfg, store, consumertest.NewNop())
		for range 10 {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(100, nil)))
		}
		err := h.Shutdown(t.Context())
		assert.ErrorContains(t, err, "850 records")
		close(store.stuck)
		synctest.Wait()
		assert.Equal(t, 151, store.calls, "the call that was blocked, and no other")
	})
}

// stuckAfter is the smallest store, and blocks when it has counted a number of records.
type stuckAfter struct {
	left, calls int
	stuck       chan struct{}
}

func (s *stuckAfter) Inc(string) {
	s.calls++
	if s.left == 0 {
		<-s.stuck
		return
	}
	s.left--
}

func (*stuckAfter) Get(string) int { return 0 }

// A call that hangs in the next consumer holds Shutdown up to its deadline; should the batch be accepted later, it is
// counted as lost.
func TestShutdownWithACallInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		next, _ := consumer.NewLogs(func(context.Context, plog.Logs) error { <-release; return nil })
		h := start(t, createDefaultConfig().(*Config), NewMemoryStore(), next)
		done := make(chan error)
		go func() { done <- h.ConsumeLogs(t.Context(), logs(5, nil)) }()
		synctest.Wait()
		began := time.Now()
		err := h.Shutdown(t.Context())
		assert.Equal(t, defaultShutdownTimeout, time.Since(began))
		require.ErrorContains(t, err, "1 calls in flight")
		close(release)
		require.NoError(t, <-done)
		assert.EqualValues(t, 5, h.number(t, "records_not_counted", "reason=lost_at_shutdown"))
	})
}

// A caller that waits for a place when the deadline of Shutdown passes is refused.
func TestShutdownRefusesWhoStillWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.LogsSink)
		h, store := full(t, FullBlock, 1, sink)
		done := make(chan error, 1)
		go func() { done <- h.ConsumeLogs(context.Background(), logs(1, nil)) }()
		synctest.Wait()
		require.ErrorIs(t, h.Shutdown(t.Context()), errLost)
		require.ErrorIs(t, <-done, errNotRunning)
		assert.Equal(t, 2, sink.LogRecordCount())
		store.open()
	})
}

// Row 27: before Start and after Shutdown ConsumeLogs returns an error at once and forwards nothing. Row 26: Shutdown
// without Start, and twice, is fine.
func TestFault_lifecycle_out_of_order(t *testing.T) {
	sink := new(consumertest.LogsSink)
	p, err := NewFactory().CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), createDefaultConfig(), sink)
	require.NoError(t, err)
	require.ErrorIs(t, p.ConsumeLogs(t.Context(), logs(1, nil)), errNotRunning)
	require.NoError(t, p.Shutdown(t.Context()), "without Start")
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(1, nil)))
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()), "twice")
	require.ErrorIs(t, p.ConsumeLogs(t.Context(), logs(1, nil)), errNotRunning)
	assert.Equal(t, 1, sink.LogRecordCount())
	evidence.Report(t, evidence.Figure{
		Rows: []int{26, 27}, Claim: "ConsumeLogs before Start and after Shutdown, Shutdown without Start and twice: defined errors, nothing is forwarded",
		Rounds: 5, Unit: "calls", Fired: 5, Counts: 1,
	})
}

// The context that Start gets ends when Start returns; the workers must not.
func TestStartDetachesFromItsContext(t *testing.T) {
	store := NewMemoryStore()
	ctx, cancel := context.WithCancel(t.Context())
	p, err := NewFactory(WithMetricStore(store)).CreateLogs(ctx, processortest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(ctx, componenttest.NewNopHost()))
	cancel()
	for range 10 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(1, nil)))
	}
	assert.Eventually(t, func() bool { return store.Get(key) == 10 }, 5*time.Second, time.Millisecond)
	require.NoError(t, p.Shutdown(t.Context()))
}

// Row 27: eight senders race Shutdown. Whoever gets nil is counted, whoever gets an error is not, and nobody gets
// stuck.
func TestFault_lifecycle_senders_race_shutdown(t *testing.T) {
	const rounds, senders = 10_000, 8
	factoryStore := NewMemoryStore()
	factory := NewFactory(WithMetricStore(factoryStore))
	cfg := createDefaultConfig().(*Config)
	cfg.Queue = QueueConfig{NumConsumers: 2, QueueSize: 2, OnFull: FullBlock}
	batch := logs(1, nil)
	var accepted, refused atomic.Int64
	for range rounds {
		p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range 3 {
					if p.ConsumeLogs(context.Background(), batch) == nil {
						accepted.Add(1)
					} else {
						refused.Add(1)
					}
				}
			})
		}
		require.NoError(t, p.Shutdown(t.Context()))
		wg.Wait()
	}
	assert.EqualValues(t, accepted.Load(), factoryStore.Get(key))
	assert.EqualValues(t, rounds*senders*3, accepted.Load()+refused.Load())
	assert.Positive(t, accepted.Load(), "the race was lost each time")
	assert.Positive(t, refused.Load(), "the race was won each time")
	evidence.Report(t, evidence.Figure{
		Rows: []int{27}, Claim: "eight senders race Shutdown: whoever is told nil is counted, and nobody else",
		Rounds: rounds, Fired: int(refused.Load()), Counts: accepted.Load(), Note: "fired = calls that were refused",
	})
}

// Row 22: a store that panics. The series at fault is accounted for, the rest of its batch and later ones are counted,
// the worker lives on, and the log tells it once, with the stack and without the key.
func TestFault_worker_store_panics(t *testing.T) {
	t.Run("Add", func(t *testing.T) { testStorePanics(t, &panickingStore{MemoryStore: NewMemoryStore()}) })
	t.Run("Counter", func(t *testing.T) { testStorePanics(t, &panickingBinder{NewMemoryStore(), 0}) })
	t.Run("Counter that is known", func(t *testing.T) { testStorePanics(t, &panickingBinder{NewMemoryStore(), 3}) })
	evidence.Report(t, evidence.Figure{
		Rows: []int{22}, Claim: "the store panics: the series at fault is accounted for, all others are counted, workers live on",
		Rounds: 9, Unit: "batches", Fired: 8, Counts: 3 * 15,
	})
}

type listingStore interface {
	MetricStore
	Lister
}

// testStorePanics counts 3 batches of 5 records, 3 of which a store panics on that had none of them before.
func testStorePanics(t *testing.T, store listingStore) {
	spared := 0 // records that it takes before it panics
	if s, ok := store.(*panickingBinder); ok {
		spared = s.spared
	}
	core, logged := observer.New(zapcore.DebugLevel)
	set := processortest.NewNopSettings(metadata.Type)
	telemetry := componenttest.NewTelemetry()
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	set.Logger = zap.New(core)
	cfg := testConfig(t, `
logs: {c: {attributes: [{key: a}]}}
queue: {num_consumers: 1}`)
	p, err := NewFactory(WithMetricStore(store)).CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	h := &harness{Logs: p, telemetry: telemetry, metrics: []string{"c"}}
	values := []string{"first", "boom", "boom", "boom", "last"}
	for range 3 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(5, func(i int, r plog.LogRecord) { r.Attributes().PutStr("a", values[i]) })))
	}
	assert.Eventually(t, func() bool { return h.number(t, "batches_counted") == 3 }, 5*time.Second, time.Millisecond)
	assert.EqualValues(t, 9-spared, h.number(t, "records_not_counted", "reason=store_error"))
	assert.EqualValues(t, 3-spared/3, h.number(t, "store_errors"))
	h.requireConserved(t)
	require.NoError(t, p.Shutdown(t.Context()))
	sum, _ := sumOf(t, store)
	assert.Equal(t, 6+spared, sum)
	require.Equal(t, 1, logged.Len())
	entry := logged.All()[0]
	assert.Contains(t, entry.ContextMap()["stack"], ".(*panicking")
	assert.NotContains(t, fmt.Sprint(entry), "boom")
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

type panickingStore struct {
	*MemoryStore
	unbound //nolint:unused // it hides a method
}

// Self makes the processor count by more than Inc.
func (s *panickingStore) Self() MetricStore { return s }

func (s *panickingStore) Add(key string, n int) {
	if strings.Contains(key, "boom") {
		panic(key)
	}
	s.MemoryStore.Add(key, n)
}

// panickingBinder panics in its Counters, when they have what they are spared.
type panickingBinder struct {
	*MemoryStore
	spared int
}

// Self makes the processor count by more than Inc.
func (s *panickingBinder) Self() MetricStore { return s }

func (s *panickingBinder) Bind(key string) store.Counter {
	return &panickingCounter{s, s.MemoryStore.Bind(key), key}
}

type panickingCounter struct {
	store *panickingBinder
	store.Counter
	key string
}

func (c *panickingCounter) Add(n int, now time.Time) bool {
	if strings.Contains(c.key, "boom") && c.store.Get(c.key) >= c.store.spared {
		panic(c.key)
	}
	return c.Counter.Add(n, now)
}

// Whatever a store panics in, and however often, each record is counted or is not, and is not in flight for ever.
func TestStorePanicsAnywhere(t *testing.T) {
	for seed := range uint64(40) {
		store := &moodyStore{MemoryStore: NewMemoryStore(), random: rand.New(rand.NewPCG(seed, 1))}
		h := start(t, testConfig(t, `{logs: {c: {attributes: [{key: a}], cardinality_limit: 3}, d: {}}, queue: {num_consumers: 1}}`), store, consumertest.NewNop())
		for range 20 {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(5, func(i int, r plog.LogRecord) { r.Attributes().PutInt("a", int64(i)) })))
		}
		assert.Eventually(t, func() bool { return h.number(t, "batches_counted") == 20 }, 5*time.Second, time.Millisecond)
		assert.Positive(t, h.number(t, "records_not_counted", "reason=store_error"))
		assert.Zero(t, h.number(t, "records_in_flight"))
		h.requireConserved(t)
		sum, _ := sumOf(t, store)
		assert.EqualValues(t, h.number(t, "records_counted"), sum)
		require.NoError(t, h.Shutdown(t.Context()))
	}
}

// moodyStore panics in a tenth of all calls, and has done nothing then.
type moodyStore struct {
	*MemoryStore
	random *rand.Rand
}

// Self makes the processor count by more than Inc.
func (s *moodyStore) Self() MetricStore { return s }

func (s *moodyStore) mayPanic() {
	if s.random.IntN(10) == 0 {
		panic("a mood")
	}
}

func (s *moodyStore) Now() time.Time {
	s.mayPanic()
	return s.MemoryStore.Now()
}

func (s *moodyStore) Bind(key string) store.Counter {
	s.mayPanic()
	return moodyCounter{s, s.MemoryStore.Bind(key)}
}

func (s *moodyStore) Overflowed(metric, key string, n int) {
	s.mayPanic()
	s.MemoryStore.Overflowed(metric, key, n)
}

type moodyCounter struct {
	store *moodyStore
	store.Counter
}

func (c moodyCounter) Add(n int, now time.Time) bool {
	c.store.mayPanic()
	return c.Counter.Add(n, now)
}

// The two-method store may panic in the middle of a series: what it has counted before is counted.
func TestSmallestStorePanics(t *testing.T) {
	store := &panicsOnce{at: 3}
	cfg := createDefaultConfig().(*Config)
	cfg.Queue.NumConsumers = 1
	h := start(t, cfg, store, consumertest.NewNop())
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(5, nil)))
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(5, nil)))
	assert.Eventually(t, func() bool { return h.number(t, "batches_counted") == 2 }, 5*time.Second, time.Millisecond)
	assert.EqualValues(t, 2+5, h.number(t, "records_counted"))
	assert.EqualValues(t, 3, h.number(t, "records_not_counted", "reason=store_error"))
	h.requireConserved(t)
}

type panicsOnce struct {
	mu    sync.Mutex
	calls int
	at    int
}

func (s *panicsOnce) Inc(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.calls == s.at {
		panic("boom")
	}
}

func (*panicsOnce) Get(string) int { return 0 }

// The time that batches waited is of those that did.
func TestWhoDoesNotWaitIsNotInTheHistogram(t *testing.T) {
	h := start(t, testConfig(t, `{}`), NewMemoryStore(), consumertest.NewNop())
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
	require.NoError(t, h.Shutdown(t.Context()))
	_, err := h.telemetry.GetMetric("otelcol_processor_tally_queue_wait_duration")
	require.Error(t, err)
}
