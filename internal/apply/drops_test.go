// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/ledger"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// dropper is a store that has dropped a key, at random, between Bind and Add.
type dropper struct {
	*memory.Store
	r *rand.Rand
}

func (s *dropper) Self() store.MetricStore { return s }

func (s *dropper) Bind(key string) store.Counter { return &droppedCounter{s.Store.Bind(key), s.r} }

type droppedCounter struct {
	store.Counter
	r *rand.Rand
}

func (c *droppedCounter) Add(n int, now time.Time) bool {
	return c.r.IntN(3) > 0 && c.Counter.Add(n, now)
}

// However often a key is dropped before it is added to: each record that overflows, and each value that is cut, is told
// once.
func TestDroppedBetweenBindAndAdd(t *testing.T) {
	for seed := range uint64(50) {
		s := &dropper{memory.New(), rand.New(rand.NewPCG(seed, 0))}
		a, _, x := applierOver(t, s, 2)
		work := a.Worker(ledger.New(1, 1).Ledgers()[0])
		cut := int64(0)
		for i := range 20 {
			batch, err := x.Extract(t.Context(), batchOf(i))
			require.NoError(t, err)
			work(batch)

			ld := batchOf(i)
			ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().PutStr("a", fmt.Sprint(i%4, strings.Repeat("x", 5000)))
			batch, err = x.Extract(t.Context(), ld)
			require.NoError(t, err)
			work(batch)
			cut++
		}
		sum, overflowed := 0, 0
		for total := range s.Totals(t.Context()) {
			sum += total.Value
			if _, overflow := x.CanHave(0, total.Key); overflow {
				overflowed += total.Value
			}
		}
		require.Equal(t, 40, sum)
		assert.EqualValues(t, overflowed, a.MetricNumbers(0).Overflowed, "seed %d", seed)
		assert.Equal(t, cut, a.Numbers().CutValues, "seed %d", seed)
	}
}

// deadCounters is a store whose Counters never take anything.
type deadCounters struct{ *memory.Store }

func (s *deadCounters) Self() store.MetricStore { return s }

func (s *deadCounters) Bind(string) store.Counter { return deadCounter{} }

type deadCounter struct{}

func (deadCounter) Add(int, time.Time) bool { time.Sleep(time.Millisecond); return false }

// A store whose Counters are dropped whenever they are bound does not hold a worker beyond the deadline.
func TestCountersThatTakeNothing(t *testing.T) {
	a, _, x := applierOver(t, &deadCounters{memory.New()}, 0)
	book := ledger.New(1, 1)
	batch, err := x.Extract(t.Context(), batchOf(1, 2))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Worker(book.Ledgers()[0])(batch)
	}()
	time.Sleep(10 * time.Millisecond)
	book.Close(time.Second)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the worker goes on")
	}
	assert.Zero(t, book.Read(0).Counted)
}

// A record that adds nothing takes no place: the limit has the keys that the store has, whatever is added and dropped.
func TestAmountsOfNothingTakeNoPlace(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		for _, s := range []store.MetricStore{memory.New(), &dropper{memory.New(), r}, adderOnly{memory.New()}} {
			p, err := extract.NewParser(componenttest.NewNopTelemetrySettings())
			require.NoError(t, err)
			value, err := p.Expression(`attributes["n"]`)
			require.NoError(t, err)
			x := extract.New(extract.Settings{ResourceAttributes: []string{}, Metrics: []extract.Metric{{
				Name: "m", Attributes: []extract.Attribute{{Key: "a"}}, Amount: extract.Amount{Expression: value},
			}}})
			a := New(Settings{
				Logger: zap.NewNop(), Store: s, Extractor: x, Observer: &shownKeys{t: t, shown: map[string]bool{}},
				Metrics: []store.Description{{Metric: "m", Sum: "n", CardinalityLimit: 5}},
			})
			require.NoError(t, a.Introduce(t.Context()))
			work := a.Worker(ledger.New(1, 1).Ledgers()[0])
			want := 0
			for range 30 {
				ld := batchOf(r.IntN(8), r.IntN(8), r.IntN(8))
				records := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
				records.RemoveIf(func(rec plog.LogRecord) bool {
					a, _ := rec.Attributes().Get("a")
					n := r.IntN(2) * int(a.Int()%2)
					rec.Attributes().PutInt("n", int64(n))
					want += n
					return false
				})
				batch, err := x.Extract(t.Context(), ld)
				require.NoError(t, err)
				work(batch)
			}
			stored, sum := 0, 0
			for total := range s.(store.Lister).Totals(t.Context()) {
				stored++
				sum += total.Value
			}
			assert.Equal(t, want, sum)
			keys, overflow := a.Keys(0)
			assert.Equal(t, stored, keys+overflow, "%T, seed %d", s, seed)
			a.Close()
		}
	}
}

// adderOnly is a store that has no Counters.
type adderOnly struct{ m *memory.Store }

func (s adderOnly) Inc(key string)        { s.m.Inc(key) }
func (s adderOnly) Get(key string) int    { return s.m.Get(key) }
func (s adderOnly) Add(key string, n int) { s.m.Add(key, n) }
func (s adderOnly) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return s.m.Totals(ctx)
}

// byValue is a store that cannot be compared.
type byValue struct {
	*memory.Store
	tags []string
}

func (s byValue) Self() store.MetricStore { return s }

// A store that Go cannot compare is counted in by Inc.
func TestStoresThatCannotBeCompared(t *testing.T) {
	s := byValue{memory.New(), []string{"a"}}
	a, _, x := applierOver(t, s, 0)
	assert.False(t, a.CanAdd())
	batch, err := x.Extract(t.Context(), batchOf(1, 1))
	require.NoError(t, err)
	a.Worker(ledger.New(1, 1).Ledgers()[0])(batch)
	assert.Equal(t, 2, s.Get(`["m",{},{"a":1}]`))
}

// halfListed is a store whose listing drops a key that it has yielded, and then fails.
type halfListed struct {
	*memory.Store
	fails bool
}

func (s *halfListed) KeysOf(metric string) (iter.Seq[string], int) {
	keys, n := s.Store.KeysOf(metric)
	return func(yield func(string) bool) {
		for key := range keys {
			s.Forget(func(k string) bool { return s.fails && k == key })
			if !yield(key) {
				return
			}
		}
	}, n
}

func (s *halfListed) Descriptions() []store.Description {
	if s.fails {
		return []store.Description{{Metric: "other", Sum: "bytes"}}
	}
	return nil
}

// A component that cannot start leaves no key in the limits that it has in common with others which the store does not
// have.
func TestFailedStartLeavesNoKeys(t *testing.T) {
	for range 20 { // the metrics are listed in any order
		failOneStart(t)
	}
}

func failOneStart(t *testing.T) {
	t.Helper()
	s := &halfListed{Store: memory.New()}
	for i := range 10 {
		s.Inc(fmt.Sprintf(`["m",{},{"b":%d}]`, i))
	}
	s.Inc(`["other",{},{}]`)
	a, _, _ := applierOver(t, s, 0) // counts by another attribute: none of the keys is its own
	s.fails = true
	x := extract.New(extract.Settings{ResourceAttributes: []string{}, Metrics: []extract.Metric{
		{Name: "m", Attributes: []extract.Attribute{{Key: "b"}}}, {Name: "other"},
	}})
	second := New(Settings{
		Logger: zap.NewNop(), Store: s, Extractor: x, Observer: &shownKeys{t: t, shown: map[string]bool{}},
		Metrics: []store.Description{{Metric: "m", Sum: sumOfRecords}, {Metric: "other", Sum: sumOfRecords}},
	})
	err := second.Introduce(t.Context())
	require.ErrorIs(t, err, ErrOtherMeaning)
	left := 0
	for total := range s.Totals(t.Context()) {
		if strings.HasPrefix(total.Key, `["m"`) {
			left++
		}
	}
	keys, _ := a.Keys(0)
	assert.LessOrEqual(t, keys, left)
}
