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
)

// MetricStore keeps one running total per key. It is all that counting needs, so anything with these two methods can
// be injected with WithMetricStore.
//
// Both methods are called by several goroutines at once. A key is text as package documentation describes it; the
// store may keep it. Inc may block: logs wait for it only when the queue is full. The processor calls neither method
// after its Shutdown has returned, except for a call that was blocked then already.
type MetricStore interface {
	// Inc adds one to the total of key. A total that is at the largest int stays there.
	Inc(key string)
	// Get returns the total of key; 0 for a key that was never counted.
	Get(key string) int
}

// Adder is implemented by a MetricStore that can add n at once. A store without it gets n calls of Inc.
type Adder interface {
	// Add adds n, which is positive, to the total of key, as n calls of Inc would.
	Add(key string, n int)
}

// Binder is implemented by a MetricStore whose totals can be added to without a look-up of the key each time. The
// processor keeps the Counters of keys that it sees again and again.
type Binder interface {
	// Bind returns the Counter of key. It does not block.
	Bind(key string) Counter
	// Now returns the time by the clock of the store.
	Now() time.Time
}

// Counter adds to the total of one key. It is safe for concurrent use.
type Counter interface {
	// Add adds n, which is positive, as n calls of Inc would at the time now, of the store's clock; it does not block. The answer is false, and
	// nothing was added, when the store has dropped the key since Bind: the caller binds it anew.
	Add(n int, now time.Time) bool
}

// Lister is implemented by a MetricStore that can list what it holds.
type Lister interface {
	// Totals yields every key once, in no order. A total that changes meanwhile is yielded as it was at some moment
	// during the listing, a key that is new meanwhile may be left out. The listing ends with the first error, whose
	// Total has no meaning; ctx bounds the time a remote store may take.
	Totals(ctx context.Context) iter.Seq2[Total, error]
}

// LocalLister is implemented by a MetricStore that many processes share. The limits of the processor are then on what this
// process has counted, and it does not list what the others have when it starts.
type LocalLister interface {
	// LocalTotals yields, once and in no order, every key that this process has counted, and those that an earlier process has
	// left to it, with what they have added to its total. It does not block.
	LocalTotals() iter.Seq[Total]
}

// Settler is implemented by a MetricStore whose totals may fall for a while, as those of a server do that has failed over to a
// replica which is behind, until the writers have brought back what is missing.
type Settler interface {
	// SettleTime returns how long that may take. A total that is lower for longer has begun anew.
	SettleTime() time.Duration
}

// Flusher is implemented by a MetricStore that buffers. The processor flushes at the end of its Shutdown.
type Flusher interface {
	// Flush returns when everything added before the call is as durable as the store makes it, or with an error,
	// at the latest when ctx ends.
	Flush(ctx context.Context) error
}

// Durable is implemented by a Flusher whose totals may outlive the process. It is what the option `durable` takes.
type Durable interface {
	Flusher
	// Durable returns nil when what was added before a Flush that has returned nil is not lost with the process; else an
	// error that says what is missing for that. It is asked once, before anything is counted. Whether it outlives the
	// machine too is a matter of what the store writes to: a file that is synced, a server that does.
	Durable() error
}

// Describer is implemented by a MetricStore that keeps what readers need to know of its metrics besides their totals.
type Describer interface {
	// Describe sets the description of a metric. The last word counts.
	Describe(d Description)
	// Descriptions returns what was described, in no order. The caller owns the result.
	Descriptions() []Description
}

// Opener is implemented by a MetricStore that outlives the process. Keys that were first counted since it was opened are
// new to the world; older ones may have been exported by an earlier process.
type Opener interface {
	// Opened returns when the store began to count in this process.
	Opened() time.Time
}

// Saturater is implemented by a MetricStore that can tell that a total has reached the largest int.
type Saturater interface {
	// Saturated returns how many additions a total could not take in full.
	Saturated() int64
}

// Forgetter is implemented by a MetricStore that drops keys which were not counted for a while, so that a flood of
// short-lived keys does not fill it for ever. What it drops stays in the balance: the total of a metric is the sum over
// its keys and what is forgotten of it.
type Forgetter interface {
	// ForgetAfter returns how long a key is idle before it is dropped; 0 = for ever.
	ForgetAfter() time.Duration
	// AroundForget registers around, which the store calls, from any goroutine, whenever it is about to drop keys: around
	// must call drop once, which drops them and returns those that it dropped. So whoever counts can keep every Add apart
	// from that. unregister ends it; around is not called after it has returned.
	AroundForget(around func(drop func() (keys []string))) (unregister func())
	// Forgotten returns what was dropped, by metric; keys that are not tally's are under "". The caller owns the result.
	Forgotten() map[string]Forgotten
}

// Forgotten is what a store has dropped of a metric.
type Forgotten struct {
	Keys  int // how often a key was dropped, since the store was opened
	Total int // the sum of the totals that they had, kept as long as totals are
}

// OverflowKeeper is implemented by a MetricStore that remembers which keys beyond a limit are counted under overflow keys
// most, in bounded memory. Their texts are log content: they are for an operator to ask for, and never exported.
type OverflowKeeper interface {
	// Overflowed notes that n, which is positive, was added under an overflow key of metric, instead of under key.
	Overflowed(metric, key string, n int)
	// Overflows returns the heaviest keys noted for a metric, in descending order of their estimate, at most limit of
	// them.
	Overflows(metric string, limit int) []Overflow
}

// Overflow is a key that was counted under an overflow key.
type Overflow struct {
	Key      string
	Estimate int // of what would have been its total, never below it: at most MaxError above
	MaxError int
}

// Description is what a backend shows of a metric.
type Description struct {
	Metric      string // its name
	Description string
	Unit        string

	// CardinalityLimit is how many keys of its own the metric may have, overflow keys apart; 0 = any number, or it is not known.
	// Each process of those that share a store keeps to its own.
	CardinalityLimit int
}

// Total is what a store knows of one key.
type Total struct {
	Key   string
	Value int
	Start time.Time // when the key was first counted
	Last  time.Time // when it was last counted, to the millisecond

	// Restored is the part of Value that was there already when the store was opened; 0 in a store that does not
	// outlive the process. A store that many processes share cannot tell: there it is Value, or 0 for a key that is newer.
	Restored int
}

// shardCount is how many locks the keys of a MemoryStore are spread over: enough that a few workers seldom meet.
const shardCount = 64

// MemoryStore is a MetricStore in memory. It implements Adder, Binder, Lister, Describer, Opener, Saturater, Forgetter and
// OverflowKeeper, and is safe for concurrent use. The cardinality limit of the processor is what bounds it, and
// WithForgetAfter: without that it never forgets a key.
type MemoryStore struct {
	seed   maphash.Seed
	opened time.Time
	shards [shardCount]shard

	saturated atomic.Int64
	forgetting
	overflowKeeper

	// mu guards descriptions.
	mu           sync.Mutex
	descriptions map[string]Description // by metric
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
