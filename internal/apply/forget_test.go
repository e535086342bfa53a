// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/ledger"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// shownKeys are the keys that an Observer would show: each begins once and ends once.
type shownKeys struct {
	t     *testing.T
	mu    sync.Mutex
	shown map[string]bool
}

func (s *shownKeys) NewKey(_ int, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.False(s.t, s.shown[key], "%s is new twice", key)
	s.shown[key] = true
}

func (s *shownKeys) KeyDropped(_ int, key string, back bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[key] = back
	if !back {
		delete(s.shown, key)
	}
}

func (*shownKeys) Overflowed(int) {}

func (s *shownKeys) Panicked(_ int, value any) { s.t.Errorf("panic: %v", value) }

// applierOver returns an Applier of one metric, `m`, by the attribute `a`, with a limit of keys.
func applierOver(t *testing.T, s store.MetricStore, limit int) (*Applier, *shownKeys, *extract.Extractor) {
	t.Helper()
	x := extract.New(extract.Settings{
		ResourceAttributes: []string{}, ValueLengthLimit: 100, Metrics: []extract.Metric{{Name: "m", Attributes: []extract.Attribute{{Key: "a"}}}},
	})
	shown := &shownKeys{t: t, shown: map[string]bool{}}
	a := New(Settings{
		Logger: zap.NewNop(), Store: s, Extractor: x, Observer: shown,
		Metrics: []store.Description{{Metric: "m", Sum: sumOfRecords, CardinalityLimit: limit}},
	})
	require.NoError(t, a.Introduce(t.Context()))
	t.Cleanup(a.Close)
	return a, shown, x
}

func batchOf(values ...int) plog.Logs {
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, v := range values {
		records.AppendEmpty().Attributes().PutInt("a", int64(v))
	}
	return ld
}

// While workers count and the store drops whatever it likes, nothing is lost, and in the end the limit has the keys
// that the store has, and no others; nor does the store ever have more keys of their own than the limit.
func TestForgettingBesideCounting(t *testing.T) {
	for seed := range uint64(8) {
		limit := []int{0, 5, 40}[seed%3]
		s := &tardy{memory.New()}
		s.OnForget(func([]string) { time.Sleep(100 * time.Microsecond) }) // the Applier hears of it later
		a, shown, x := applierOver(t, s, limit)
		book := ledger.New(3, 1)
		stop := make(chan struct{})
		var dropped atomic.Int64
		var counting, dropping sync.WaitGroup
		for d := range 2 {
			dropping.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(100+d)))
				for {
					select {
					case <-stop:
						return
					default:
						gone := r.IntN(3)
						dropped.Add(int64(s.Forget(func(key string) bool { return len(key)%3 == gone || r.IntN(4) == 0 })))
					}
				}
			})
		}
		const rounds, size = 60, 6
		for i, l := range book.Ledgers() {
			work := a.Worker(l)
			counting.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range rounds {
					var values []int
					for range size {
						values = append(values, r.IntN(60))
					}
					batch, err := x.Extract(t.Context(), batchOf(values...))
					if assert.NoError(t, err) {
						work(batch)
					}
				}
			})
		}
		counting.Wait()
		close(stop)
		dropping.Wait()

		sum, own, overflow := s.Forgotten()["m"].Total, 0, 0
		for total := range s.Totals(t.Context()) {
			sum += total.Value
			if _, isOverflow := x.CanHave(0, total.Key); isOverflow {
				overflow++
			} else {
				own++
			}
			assert.True(t, shown.shown[total.Key], "%s is not shown", total.Key)
		}
		assert.Equal(t, 3*rounds*size, sum)
		keys, overflowKeys := a.Keys(0)
		assert.Equal(t, []int{own, overflow}, []int{keys, overflowKeys}, "seed %d", seed)
		assert.Len(t, shown.shown, own+overflow)
		if limit > 0 {
			assert.LessOrEqual(t, own, limit)
		}
		assert.Positive(t, dropped.Load())
		assert.Equal(t, ledger.Entry{Counted: 3 * rounds * size, Pending: -3 * rounds * size}, book.Read(0), "nothing was committed here")
	}
}

// tardy is a store that binds after some time.
type tardy struct{ *memory.Store }

func (s *tardy) Self() store.MetricStore { return s }

func (s *tardy) Bind(key string) store.Counter {
	time.Sleep(50 * time.Microsecond)
	return s.Store.Bind(key)
}

// A key that the store drops while its keys are listed takes no place.
func TestDroppedWhileListed(t *testing.T) {
	for range 30 {
		s := memory.New()
		for i := range 300 {
			s.Inc(fmt.Sprintf(`["m",{},{"a":%d}]`, i))
		}
		var dropping sync.WaitGroup
		dropping.Go(func() { s.Forget(func(key string) bool { return len(key)%2 == 0 }) })
		a, _, _ := applierOver(t, s, 0)
		dropping.Wait()
		keys, _ := a.Keys(0)
		left := 0
		for range s.Totals(t.Context()) {
			left++
		}
		require.Equal(t, left, keys)
	}
}

// A store that embeds another and overrides Inc is called, whatever else it has; one that says so is called by all it
// has.
func TestEmbeddedStoresAreNotBypassed(t *testing.T) {
	plain := &countedInc{Store: memory.New()}
	aware := &awareStore{countedInc{Store: memory.New()}}
	for s, want := range map[store.MetricStore]int64{plain: 4, aware: 0} {
		a, _, x := applierOver(t, s, 0)
		batch, err := x.Extract(t.Context(), batchOf(1, 1, 1, 2))
		require.NoError(t, err)
		a.Worker(ledger.New(1, 1).Ledgers()[0])(batch)
		assert.Equal(t, 3, s.Get(`["m",{},{"a":1}]`))
		assert.Equal(t, 1, s.Get(`["m",{},{"a":2}]`))
		assert.Equal(t, want, s.(interface{ calls() int64 }).calls())
		assert.Equal(t, want > 0, !a.CanAdd())
	}
}

type countedInc struct {
	*memory.Store
	n atomic.Int64
}

func (s *countedInc) Inc(key string) { s.n.Add(1); s.Store.Inc(key) }
func (s *countedInc) calls() int64   { return s.n.Load() }

type awareStore struct{ countedInc }

func (s *awareStore) Self() store.MetricStore { return s }
