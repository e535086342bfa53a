// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package memory holds totals in memory: a map of counters under a lock a shard, with what can be done to it beyond
// counting.
package memory

import (
	"context"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/meaning"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/store"
)

// shardCount is how many locks the keys of a Store are spread over: enough that a few workers seldom meet.
const shardCount = 64

// Store is a MetricStore in memory, with all that is optional but Flusher. It is safe for concurrent use. The
// cardinality limit of the processor is what bounds it, and WithForgetAfter: without that it never drops a key.
//
// A type that embeds a Store and overrides some of its methods is counted in by Inc alone, unless it overrides Self
// too, and so says that its Add and Bind are what they should be.
type Store struct {
	seed   maphash.Seed
	opened time.Time
	shards [shardCount]shard

	saturated atomic.Int64
	keys      keyList
	claims    meaning.Claims
	forgetting
	overflowKeeper

	// mu guards the fields below.
	mu           sync.Mutex
	descriptions map[string]store.Description // by metric
	readers      map[string]any               // what those that are gone knew, by name
}

// shard holds the totals of some keys.
type shard struct {
	// mu guards totals; what they point to is atomic.
	mu     sync.RWMutex
	totals map[string]*total
}

// total is the Counter of a key.
type total struct {
	owner    *Store
	start    int64        // Unix time in nanoseconds, as last
	value    atomic.Int64 // dropped = the key is not in the store any more
	last     atomic.Int64 // by the clock of the store
	restored atomic.Int64
	counted  atomic.Bool // since the store was opened: else last is of an earlier store
}

// dropped is no total: those are not negative.
const dropped = -1

// Option changes what New makes.
type Option func(*Store)

var (
	_ store.MetricStore = (*Store)(nil)
	_ store.Adder       = (*Store)(nil)
	_ store.Binder      = (*Store)(nil)
	_ store.Lister      = (*Store)(nil)
	_ store.Describer   = (*Store)(nil)
	_ store.Informer    = (*Store)(nil)

	_ capability.Claimer        = (*Store)(nil)
	_ capability.Saturater      = (*Store)(nil)
	_ capability.Forgetter      = (*Store)(nil)
	_ capability.OverflowKeeper = (*Store)(nil)
	_ capability.ReaderKeeper   = (*Store)(nil)
	_ capability.KeyLister      = (*Store)(nil)
	_ capability.Embeddable     = (*Store)(nil)
)

// New returns an empty Store.
func New(options ...Option) *Store {
	s := &Store{seed: maphash.MakeSeed(), opened: time.Now(), descriptions: map[string]store.Description{}}
	for i := range s.shards {
		s.shards[i].totals = map[string]*total{}
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// Inc adds one to the total of key.
func (s *Store) Inc(key string) { s.Add(key, 1) }

// Add adds n to the total of key. A total that would pass the largest int stays at it; n that is not positive adds
// nothing.
func (s *Store) Add(key string, n int) {
	if n <= 0 {
		return
	}
	now := s.Now()
	for added := false; !added; { // until it was not dropped in between
		added = s.bind(key, now).Add(n, now)
	}
}

// Bind returns the Counter of key.
func (s *Store) Bind(key string) store.Counter { return s.bind(key, s.Now()) }

// Get returns the total of key; 0 for a key that was never counted.
func (s *Store) Get(key string) int {
	sh := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if t, ok := sh.totals[key]; ok {
		return int(t.value.Load())
	}
	return 0
}

// Restore sets a total as it was listed before, by this store or by another. It is not for a key that is counted at the
// same time.
func (s *Store) Restore(total store.Total) {
	sh := s.shard(total.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := s.counter(sh, total.Key, total.Start.UnixNano())
	t.value.Store(int64(total.Value))
	t.restored.Store(int64(total.Value))
	t.last.Store(total.Last.UnixNano())
	t.counted.Store(false)
	s.resume(total.Last.UnixNano())
}

// Claim keeps apart components that count under one name what is not to be added up.
func (s *Store) Claim(d store.Description, begin func() (shared any)) (shared any, release func(), err error) {
	return s.claims.Claim(d.Metric, meaning.Meaning{Unit: d.Unit, Sum: d.Sum}, begin)
}

// Describe sets the description of a metric.
func (s *Store) Describe(d store.Description) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.descriptions[d.Metric] = d
}

// Descriptions returns what was described.
func (s *Store) Descriptions() []store.Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.descriptions))
}

// KeepReader keeps what a reader of the store knows when it ends, for the next one of its name.
func (s *Store) KeepReader(name string, state any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == nil {
		s.readers = map[string]any{}
	}
	s.readers[name] = state
}

// KeptReader returns what the last reader of a name has left, and gives it away: nil when there is nothing.
func (s *Store) KeptReader(name string) (state any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state = s.readers[name]
	delete(s.readers, name)
	return state
}

// Saturated returns how many additions a total could not take in full.
func (s *Store) Saturated() int64 { return s.saturated.Load() }

// Info returns since when the store counts, and when it drops keys.
func (s *Store) Info() store.Info { return store.Info{Opened: s.opened, ForgetAfter: s.forgetAfter} }

// Self returns s.
func (s *Store) Self() store.MetricStore { return s }

// Totals yields every key. It never fails, and holds no lock while the caller looks at a Total.
func (s *Store) Totals(context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		var list []store.Total
		for i := range s.shards {
			list = s.shards[i].appendTotals(list[:0])
			for _, t := range list {
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)%shardCount]
}

// Now returns the time by the clock of the store: the time that it was opened at, and what has passed since. A step of
// the wall clock does not move it.
func (s *Store) Now() time.Time { return s.opened.Add(time.Since(s.opened)) }

// bind finds the counter of key or makes it.
func (s *Store) bind(key string, now time.Time) *total {
	sh := s.shard(key)
	if t, ok := sh.known(key); ok {
		return t
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.counter(sh, key, now.UnixNano())
}

func (sh *shard) known(key string) (*total, bool) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	t, ok := sh.totals[key]
	return t, ok
}

// counter finds the counter of key or makes it. The caller has the write lock.
func (s *Store) counter(sh *shard, key string, start int64) *total {
	t, ok := sh.totals[key]
	if !ok {
		t = &total{owner: s, start: start}
		t.last.Store(start)
		t.counted.Store(true)
		sh.totals[key] = t
		s.keys.changed()
	}
	return t
}

func (sh *shard) appendTotals(list []store.Total) []store.Total {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for key, t := range sh.totals {
		if n := t.value.Load(); n > 0 { // else it was restored as nothing
			list = append(list, store.Total{
				Key: key, Value: int(n), Start: time.Unix(0, t.start), Last: time.Unix(0, t.last.Load()), Restored: int(t.restored.Load()),
			})
		}
	}
	return list
}

// Add adds n to the total, unless its key was dropped. A total that would pass the largest int stays at it.
func (t *total) Add(n int, now time.Time) bool {
	for {
		old := t.value.Load()
		if old == dropped {
			return false
		}
		sum, fits := saturating.Add(old, int64(n))
		if !t.value.CompareAndSwap(old, sum) {
			continue
		}
		if !fits {
			t.owner.saturated.Add(1)
		}
		t.touch(now.UnixNano())
		if !t.counted.Load() {
			t.counted.Store(true)
		}
		return true
	}
}

// lastResolution is how exact the time of the last count is: to write it takes longer than to read it.
const lastResolution = int64(time.Millisecond)

// touch sets when the total was last counted.
func (t *total) touch(now int64) {
	if since := now - t.last.Load(); since >= lastResolution || since < 0 || !t.counted.Load() {
		t.last.Store(now)
	}
}
