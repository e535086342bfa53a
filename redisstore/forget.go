// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"math"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// Keys that nobody counts are dropped on the server first, where all writers are heard; see forget.lua. What a writer
// has contributed to them is in no total any more, and it finds that out in one of two ways. If it counts such a key,
// the flush is not taken, and the key begins anew: what was acknowledged of it becomes forgotten, what is on its way
// stays as it is, under the same token, for the same place and tenant. So to the server it is the same flush as before,
// but for names in place of ids. And of keys that it does not count it asks from time to time; those that are missing
// it drops.

// beginAnew takes the numbers of entries of f that the server does not have any more.
func (s *slot) beginAnew(f *flush, numbers string) error {
	if numbers == "" {
		return fmt.Errorf("%w: no key is forgotten", errWrongAnswer)
	}
	for ; numbers != ""; numbers = numbers[idLength:] {
		n := number(numbers[:idLength])
		if n < 1 || n > uint64(len(f.entries)) {
			return fmt.Errorf("%w: key %d of %d is forgotten", errWrongAnswer, n, len(f.entries))
		}
		e := f.entries[n-1]
		if e.id == 0 && e.acked == 0 {
			return fmt.Errorf("%w: a key is forgotten which it has not had", errWrongAnswer)
		}
		e.id = 0
		s.forgetAcked(e)
	}
	return nil
}

// forgetAcked makes e begin anew with what is not acknowledged.
func (s *slot) forgetAcked(e *entry) {
	acked := e.acked
	e.forgotten += acked - e.base
	e.sent -= acked
	e.kept = max(0, e.kept-acked)
	e.acked, e.base, e.foreign = 0, 0, 0
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	e.value.Add(-acked)
	e.start = e.local.Now().UnixMilli()
	s.shard.forget(e, acked)
}

// forget enters that a part of the value of e is forgotten. The caller has the lock.
func (s *localShard) forget(e *entry, amount int64) {
	metric, _ := serieskey.MetricOf(e.key())
	f := s.forgotten[metric]
	f.Keys++
	f.Total, _ = saturating.Add(f.Total, int(min(amount, math.MaxInt)))
	s.forgotten[metric] = f
}

// forgottenTotals returns what is forgotten, by metric.
func (l *local) forgottenTotals() map[string]capability.Forgotten {
	all := map[string]capability.Forgotten{}
	for i := range l.shards {
		l.shards[i].addForgotten(all)
	}
	return all
}

func (s *localShard) addForgotten(all map[string]capability.Forgotten) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for metric, f := range s.forgotten {
		sum := all[metric]
		sum.Keys += f.Keys
		sum.Total, _ = saturating.Add(sum.Total, f.Total)
		all[metric] = sum
	}
}

// lookForIdle makes the next questions be of the entries that were not counted for so long.
func (s *slot) lookForIdle(idle time.Duration) {
	s.asking = s.asking[:0]
	s.shard.mu.RLock()
	defer s.shard.mu.RUnlock()
	for _, e := range s.shard.entries {
		if e.isIdle(idle) {
			s.asking = append(s.asking, e)
		}
	}
}

// isIdle says whether e was not counted for so long, and the server has all of it.
func (e *entry) isIdle(idle time.Duration) bool {
	return !e.queued && e.value.Load() == e.acked && e.local.age()-e.counted >= idle
}

// nextIdle returns some of the entries that lookForIdle has found and that still are idle. There are none while it is
// not known what the server has.
func (s *slot) nextIdle(idle time.Duration) (entries []*entry) {
	if s.generation == "" || s.pending != nil || s.resyncing {
		return nil
	}
	for len(s.asking) > 0 && len(entries) < chunk {
		last := len(s.asking) - 1
		e := s.asking[last]
		s.asking[last] = nil
		s.asking = s.asking[:last]
		if e.isIdle(idle) {
			entries = append(entries, e)
		}
	}
	return entries
}

// drop drops those of entries that are still as idle as they were, and returns their keys.
func (s *slot) drop(entries []*entry) (keys []string) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, e := range entries {
		if !e.value.CompareAndSwap(e.acked, dropped) {
			continue // it was counted meanwhile, and begins anew with the next flush
		}
		delete(s.shard.entries, e.key())
		e.local.keys.Add(-1)
		keys = append(keys, e.key())
		s.shard.forget(e, e.acked)
		if e.place != noPlace {
			s.places[e.place] = nil
			s.free = append(s.free, e.place)
			e.place = noPlace
		}
	}
	return keys
}

// forgottenTotals returns what is to be kept of what is forgotten.
func (s *localShard) forgottenTotals() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	totals := make(map[string]int, len(s.forgotten))
	for metric, f := range s.forgotten {
		totals[metric] = f.Total
	}
	return totals
}

// restoreForgotten enters what was kept.
func (s *localShard) restoreForgotten(totals map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for metric, total := range totals {
		s.forgotten[metric] = capability.Forgotten{Total: total}
	}
}
