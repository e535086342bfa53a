package tallyprocessor

import (
	"context"
	"hash/maphash"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/meaning"
)

// shardCount is how many locks the keys of a MemoryStore are spread over: enough that a few workers seldom meet.
const shardCount = 64

// MemoryStore is a MetricStore in memory. It implements Adder, Binder, Lister, Describer, Claimer, Opener, Saturater, Forgetter and
// OverflowKeeper, and is safe for concurrent use. The cardinality limit of the processor is what bounds it, and
// WithForgetAfter: without that it never forgets a key.
type MemoryStore struct {
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
	descriptions map[string]Description // by metric
	readers      map[string]any         // what those that are gone knew, by name
}

// shard holds the totals of some keys.
type shard struct {
	// mu guards totals; what they point to is atomic.
	mu     sync.RWMutex
	totals map[string]*total
}

// total is the Counter of a key.
type total struct {
	store    *MemoryStore
	start    int64        // Unix time in nanoseconds, as last
	value    atomic.Int64 // dropped = the key is not in the store any more
	last     atomic.Int64 // by the clock of the store
	restored atomic.Int64
	counted  atomic.Bool // since the store was opened: else last is of an earlier store
}

// dropped is no total: those are not negative.
const dropped = -1

// MemoryStoreOption changes what NewMemoryStore makes.
type MemoryStoreOption func(*MemoryStore)

var (
	_ MetricStore = (*MemoryStore)(nil)
	_ Adder       = (*MemoryStore)(nil)
	_ Binder      = (*MemoryStore)(nil)
	_ Lister      = (*MemoryStore)(nil)
	_ Describer   = (*MemoryStore)(nil)
	_ Claimer     = (*MemoryStore)(nil)
	_ Opener      = (*MemoryStore)(nil)
	_ Saturater   = (*MemoryStore)(nil)
	_ Forgetter   = (*MemoryStore)(nil)

	_ OverflowKeeper = (*MemoryStore)(nil)
)

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore(options ...MemoryStoreOption) *MemoryStore {
	s := &MemoryStore{seed: maphash.MakeSeed(), opened: time.Now(), descriptions: map[string]Description{}}
	for i := range s.shards {
		s.shards[i].totals = map[string]*total{}
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// Inc adds one to the total of key.
func (s *MemoryStore) Inc(key string) { s.Add(key, 1) }

// Add adds n to the total of key. A total that would pass the largest int stays at it; n that is not positive adds
// nothing.
func (s *MemoryStore) Add(key string, n int) {
	if n <= 0 {
		return
	}
	now := s.Now()
	for added := false; !added; { // until it was not dropped in between
		added = s.bind(key, now).Add(n, now)
	}
}

// Bind returns the Counter of key.
func (s *MemoryStore) Bind(key string) Counter { return s.bind(key, s.Now()) }

// Get returns the total of key; 0 for a key that was never counted.
func (s *MemoryStore) Get(key string) int {
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
func (s *MemoryStore) Restore(total Total) {
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
func (s *MemoryStore) Claim(d Description, begin func() (shared any)) (shared any, release func(), err error) {
	return s.claims.Claim(d.Metric, d.meaning(), begin)
}

// Describe sets the description of a metric.
func (s *MemoryStore) Describe(d Description) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.descriptions[d.Metric] = d
}

// Descriptions returns what was described.
func (s *MemoryStore) Descriptions() []Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.descriptions))
}

// KeepReader keeps what a reader of the store knows when it ends, for the next one of its name.
func (s *MemoryStore) KeepReader(name string, state any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == nil {
		s.readers = map[string]any{}
	}
	s.readers[name] = state
}

// KeptReader returns what the last reader of a name has left, and gives it away: nil when there is nothing.
func (s *MemoryStore) KeptReader(name string) (state any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state = s.readers[name]
	delete(s.readers, name)
	return state
}

// Saturated returns how many additions a total could not take in full.
func (s *MemoryStore) Saturated() int64 { return s.saturated.Load() }

// Opened returns when the store was made.
func (s *MemoryStore) Opened() time.Time { return s.opened }

// Totals yields every key. It never fails, and holds no lock while the caller looks at a Total.
func (s *MemoryStore) Totals(context.Context) iter.Seq2[Total, error] {
	return func(yield func(Total, error) bool) {
		var list []Total
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

func (s *MemoryStore) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)%shardCount]
}

// Now returns the time by the clock of the store: the time that it was opened at, and what has passed since. A step of the
// wall clock does not move it.
func (s *MemoryStore) Now() time.Time { return s.opened.Add(time.Since(s.opened)) }

// bind finds the counter of key or makes it.
func (s *MemoryStore) bind(key string, now time.Time) *total {
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
func (s *MemoryStore) counter(sh *shard, key string, start int64) *total {
	t, ok := sh.totals[key]
	if !ok {
		t = &total{store: s, start: start}
		t.last.Store(start)
		t.counted.Store(true)
		sh.totals[key] = t
		s.keys.changed()
	}
	return t
}

func (sh *shard) appendTotals(list []Total) []Total {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for key, t := range sh.totals {
		if n := t.value.Load(); n > 0 { // else it was restored as nothing
			list = append(list, Total{
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
		sum, fits := addSaturated(old, int64(n))
		if !t.value.CompareAndSwap(old, sum) {
			continue
		}
		if !fits {
			t.store.saturated.Add(1)
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

// addSaturated adds two numbers that are not negative, and says whether there was room for all of it.
func addSaturated(a, b int64) (sum int64, fits bool) {
	if sum = a + b; sum < 0 {
		return math.MaxInt64, false
	}
	return sum, true
}
