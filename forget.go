package tallyprocessor

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/identity"
)

// forgetChunk is how many keys are dropped at once: whoever counts waits no longer than that takes.
const forgetChunk = 1000

// How often KeepForgetting looks for idle keys: ten times in the time after which they are dropped, within these.
const (
	minForgetInterval = time.Second
	maxForgetInterval = time.Minute
)

// forgetting is what a MemoryStore needs to drop keys.
type forgetting struct {
	forgetAfter time.Duration
	resumed     atomic.Int64 // the newest Last that was restored, Unix time in nanoseconds; see MemoryStore.idle

	// aroundMu guards arounds, and is held while they are called.
	aroundMu sync.Mutex
	arounds  []*around // in the order of their registration

	// forgottenMu guards forgotten.
	forgottenMu sync.Mutex
	forgotten   map[string]Forgotten // by metric
}

// around is what was given to AroundForget.
type around struct {
	call func(drop func() []string)
}

// WithForgetAfter makes a MemoryStore drop keys that were not counted for d when ForgetIdle is called, or KeepForgetting
// runs. 0 = never.
func WithForgetAfter(d time.Duration) MemoryStoreOption {
	return func(s *MemoryStore) { s.forgetAfter = max(d, 0) }
}

// ForgetAfter returns how long a key is idle before it is dropped; 0 = for ever.
func (s *MemoryStore) ForgetAfter() time.Duration { return s.forgetAfter }

// AroundForget registers around. The one that was registered first is the outermost: its drop calls the next. unregister
// waits for an around that runs, so an around must not call it; nor must an around register another.
func (s *MemoryStore) AroundForget(f func(drop func() (keys []string))) (unregister func()) {
	s.aroundMu.Lock()
	defer s.aroundMu.Unlock()
	a := &around{call: f}
	s.arounds = append(s.arounds, a)
	return func() {
		s.aroundMu.Lock()
		defer s.aroundMu.Unlock()
		s.arounds = slices.DeleteFunc(s.arounds, func(other *around) bool { return other == a })
	}
}

// Forgotten returns what was dropped, by metric.
func (s *MemoryStore) Forgotten() map[string]Forgotten {
	s.forgottenMu.Lock()
	defer s.forgottenMu.Unlock()
	if s.forgotten == nil {
		return map[string]Forgotten{}
	}
	return maps.Clone(s.forgotten)
}

// RestoreForgotten sets the forgotten total of a metric as an earlier store had it.
func (s *MemoryStore) RestoreForgotten(metric string, total int) {
	s.changeForgotten(metric, func(f *Forgotten) { f.Total = total })
}

// KeepForgetting drops idle keys from time to time until ctx ends. Its caller is who owns the store.
func (s *MemoryStore) KeepForgetting(ctx context.Context) {
	if s.forgetAfter <= 0 {
		return
	}
	ticker := time.NewTicker(min(max(s.forgetAfter/10, minForgetInterval), maxForgetInterval))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.forgetIdle(ctx)
		}
	}
}

// ForgetIdle drops every key that is idle.
func (s *MemoryStore) ForgetIdle() { s.forgetIdle(context.Background()) }

func (s *MemoryStore) forgetIdle(ctx context.Context) {
	if s.forgetAfter <= 0 {
		return
	}
	since := time.Since(s.opened) // what is counted from now on is less than idle
	s.forget(ctx, func(_ string, t *total) bool { return s.idle(t, since) >= s.forgetAfter })
}

// Forget drops every key that gone says, as if it were idle, and returns how many that were. gone is called under a lock of the store, and
// more than once for a key.
func (s *MemoryStore) Forget(gone func(key string) bool) (keys int) {
	return s.forget(context.Background(), func(key string, _ *total) bool { return gone(key) })
}

func (s *MemoryStore) forget(ctx context.Context, gone func(string, *total) bool) (keys int) {
	for i := range s.shards {
		sh := &s.shards[i]
		for chunk := range slices.Chunk(sh.candidates(gone), forgetChunk) {
			if ctx.Err() != nil {
				return keys
			}
			keys += s.forgetChunk(sh, chunk, gone)
		}
	}
	return keys
}

// candidates returns the keys that may be dropped.
func (sh *shard) candidates(gone func(string, *total) bool) []string {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	var list []string
	for key, t := range sh.totals {
		if gone(key, t) {
			list = append(list, key)
		}
	}
	return list
}

// forgetChunk drops the keys of chunk that are still to go, inside of every around, and returns how many that were.
func (s *MemoryStore) forgetChunk(sh *shard, chunk []string, gone func(string, *total) bool) int {
	s.aroundMu.Lock()
	defer s.aroundMu.Unlock()
	var over atomic.Bool
	defer over.Store(true)
	next := sync.OnceValue(func() []string {
		if over.Load() {
			return nil // an around has kept it
		}
		return s.drop(sh, chunk, gone)
	})
	for _, a := range slices.Backward(s.arounds) {
		inner := next
		next = func() (keys []string) {
			a.call(sync.OnceValue(func() []string {
				keys = inner()
				return keys
			}))
			return keys
		}
	}
	return len(next())
}

// drop is where keys go.
func (s *MemoryStore) drop(sh *shard, chunk []string, gone func(string, *total) bool) []string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	keys := make([]string, 0, len(chunk))
	for _, key := range chunk {
		t, ok := sh.totals[key]
		if !ok || !gone(key, t) {
			continue
		}
		delete(sh.totals, key)
		s.keys.changed()
		keys = append(keys, key)
		metric, _ := identity.MetricOf(key)
		s.changeForgotten(metric, func(f *Forgotten) {
			sum, fits := addSaturated(int64(f.Total), t.value.Swap(dropped))
			if !fits {
				s.saturated.Add(1)
			}
			f.Total = int(sum)
			f.Keys++
		})
	}
	return keys
}

func (s *MemoryStore) changeForgotten(metric string, change func(*Forgotten)) {
	s.forgottenMu.Lock()
	defer s.forgottenMu.Unlock()
	if s.forgotten == nil {
		s.forgotten = map[string]Forgotten{}
	}
	f := s.forgotten[metric]
	change(&f)
	s.forgotten[metric] = f
}

// idle returns for how long t was not counted while a store was open, since being how long this one is. A restored total
// was idle for as long as the earlier store counted others after it, by what it last counted: the time between the two
// stores does not age it.
func (s *MemoryStore) idle(t *total, since time.Duration) time.Duration {
	last := t.last.Load()
	if t.counted.Load() {
		return since - time.Duration(last-s.opened.UnixNano())
	}
	resumed := s.resumed.Load()
	if last >= resumed {
		return since
	}
	earlier := resumed - last
	if earlier < 0 {
		earlier = math.MaxInt64
	}
	sum, _ := addSaturated(int64(since), earlier)
	return time.Duration(sum)
}

// resume notes when a restored total was last counted. A time that is yet to come is of a clock that was wrong: it says
// nothing about the others.
func (s *MemoryStore) resume(last int64) {
	if last > s.opened.UnixNano() {
		return
	}
	for {
		newest := s.resumed.Load()
		if newest != 0 && last <= newest || s.resumed.CompareAndSwap(newest, last) {
			return
		}
	}
}
