// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// forgetChunk is how many keys are dropped at once: who counts a key of that shard waits no longer than that takes.
const forgetChunk = 1000

// forgetting is what a Store needs to drop keys.
type forgetting struct {
	forgetAfter time.Duration
	resumed     atomic.Int64 // the newest Last that was restored, Unix time in nanoseconds; see Store.idle

	capability.Listeners

	// forgottenMu guards forgotten.
	forgottenMu sync.Mutex
	forgotten   map[string]capability.Forgotten // by metric
}

// WithForgetAfter makes a Store drop keys that were not counted for d when ForgetIdle is called, or KeepForgetting
// runs. 0 = never.
func WithForgetAfter(d time.Duration) Option {
	return func(s *Store) { s.forgetAfter = max(d, 0) }
}

// Has says whether there is a counter of key, whatever its total.
func (s *Store) Has(key string) bool {
	_, ok := s.shard(key).known(key)
	return ok
}

// Forgotten returns what was dropped, by metric.
func (s *Store) Forgotten() map[string]capability.Forgotten {
	s.forgottenMu.Lock()
	defer s.forgottenMu.Unlock()
	if s.forgotten == nil {
		return map[string]capability.Forgotten{}
	}
	return maps.Clone(s.forgotten)
}

// RestoreForgotten sets the forgotten total of a metric as an earlier store had it.
func (s *Store) RestoreForgotten(metric string, total int) {
	s.changeForgotten(metric, func(f *capability.Forgotten) { f.Total = total })
}

// KeepForgetting drops idle keys from time to time until ctx ends. Its caller is who owns the store.
func (s *Store) KeepForgetting(ctx context.Context) {
	if s.forgetAfter <= 0 {
		return
	}
	ticker := time.NewTicker(capability.ForgetInterval(s.forgetAfter))
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
func (s *Store) ForgetIdle() { s.forgetIdle(context.Background()) }

func (s *Store) forgetIdle(ctx context.Context) {
	if s.forgetAfter <= 0 {
		return
	}
	since := time.Since(s.opened) // what is counted from now on is less than idle
	s.forget(ctx, func(_ string, t *total) bool { return s.idle(t, since) >= s.forgetAfter })
}

// Forget drops every key that gone says, as if it were idle, and returns how many that were. gone is called under a
// lock of the store, and more than once for a key.
func (s *Store) Forget(gone func(key string) bool) (keys int) {
	return s.forget(context.Background(), func(key string, _ *total) bool { return gone(key) })
}

func (s *Store) forget(ctx context.Context, gone func(string, *total) bool) (keys int) {
	for i := range s.shards {
		sh := &s.shards[i]
		for chunk := range slices.Chunk(sh.candidates(gone), forgetChunk) {
			if ctx.Err() != nil {
				return keys
			}
			keys += len(s.Drop(func() []string { return s.drop(sh, chunk, gone) }))
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

// drop is where keys go.
func (s *Store) drop(sh *shard, chunk []string, gone func(string, *total) bool) []string {
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
		metric, _ := serieskey.MetricOf(key)
		s.changeForgotten(metric, func(f *capability.Forgotten) {
			sum, fits := saturating.Add(int64(f.Total), t.value.Swap(dropped))
			if !fits {
				s.saturated.Add(1)
			}
			f.Total = int(sum)
			f.Keys++
		})
	}
	return keys
}

func (s *Store) changeForgotten(metric string, change func(*capability.Forgotten)) {
	s.forgottenMu.Lock()
	defer s.forgottenMu.Unlock()
	if s.forgotten == nil {
		s.forgotten = map[string]capability.Forgotten{}
	}
	f := s.forgotten[metric]
	change(&f)
	s.forgotten[metric] = f
}

// idle returns for how long t was not counted while a store was open, since being how long this one is. A restored
// total was idle for as long as the earlier store counted others after it, by what it last counted: the time between
// the two stores does not age it.
func (s *Store) idle(t *total, since time.Duration) time.Duration {
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
	sum, _ := saturating.Add(int64(since), earlier)
	return time.Duration(sum)
}

// resume notes when a restored total was last counted. A time that is yet to come is of a clock that was wrong: it says
// nothing about the others.
func (s *Store) resume(last int64) {
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
