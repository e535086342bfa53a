// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// local holds what this process has counted. Counting touches nothing else: no lock but for a key that is new, or
// counted for the first time since it was last collected. It is safe for concurrent use.
type local struct {
	maxKeys int64
	opened  time.Time
	shards  []localShard
	aliases aliases

	keys       atomic.Int64
	overflowed atomic.Int64 // keys that were counted under another for lack of room
	saturated  atomic.Int64
}

// localShard holds the keys of one shard of the server.
type localShard struct {
	// mu guards the fields below.
	mu        sync.RWMutex
	entries   map[string]*entry
	forgotten map[string]capability.Forgotten // by metric

	// changedMu guards changed.
	changedMu sync.Mutex
	changed   []*entry // since it was last taken
}

// entry is the Counter of a key.
type entry struct {
	local *local
	shard *localShard
	field string // in the totals of the shard: the key behind a colon
	// when this process first counted it, Unix time in milliseconds; shard.mu guards it, and only the slot changes it
	start int64

	// what this process has counted, and the one before it if its state was kept; dropped = it is not there any more
	value   atomic.Int64
	changed atomic.Bool // is in shard.changed

	// What the slot knows of it; only its slot touches these. See slot.
	place     int           // in the slot; noPlace = it has none yet
	tenant    uint32        // number that no other entry has had in that place
	counted   time.Duration // when that was last noticed, by local.age
	id        uint32        // on the server; 0 = not known
	queued    bool          // is in slot.backlog
	sent      int64         // value, as far as it is on its way
	acked     int64         // value, as far as it is acknowledged
	base      int64         // value, as far as it is in the total but not part of the slot's contribution
	foreign   int64         // base, as far as another writer owns it
	kept      int64         // value, as the state had it at the start
	forgotten int64         // was value and is forgotten, and is part of the slot's contribution
}

// noPlace is the place of an entry that the slot has not met yet, and dropped the value of one that is no longer there.
const noPlace, dropped = -1, -1

func newLocal(shards int, maxKeys int) *local {
	l := &local{maxKeys: int64(maxKeys), opened: time.Now(), shards: make([]localShard, shards)}
	for i := range l.shards {
		l.shards[i].entries, l.shards[i].forgotten = map[string]*entry{}, map[string]capability.Forgotten{}
	}
	return l
}

// Now returns the time by a clock that a step of the wall clock does not move.
func (l *local) Now() time.Time { return l.opened.Add(l.age()) }

// age returns for how long l has been there.
func (l *local) age() time.Duration { return time.Since(l.opened) }

// shardOf returns the number of the shard that holds key. It is the same on every machine for ever, as keys are.
func shardOf(key string, shards int) int { return int(xxhash.Sum64String(key) % uint64(shards)) }

// add adds n to a key.
func (l *local) add(key string, n int) {
	if n <= 0 {
		return
	}
	for added := false; !added; { // until it was not dropped in between
		e, _ := l.bind(key)
		added = e.Add(n, time.Time{})
	}
}

// bind returns the entry that key is counted in: its own, or, where there is no room for it, that of the overflow of
// its metric.
func (l *local) bind(key string) (e *entry, own bool) {
	if e, ok := l.find(key); ok {
		return e, true
	}
	if e, ok := l.make(key, l.maxKeys); ok {
		return e, true
	}
	l.overflowed.Add(1)
	e, _ = l.make(overflowKey(key), math.MaxInt64)
	return e, false
}

func (l *local) find(key string) (*entry, bool) {
	s := &l.shards[shardOf(key, len(l.shards))]
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries[key]
	return e, ok
}

// make returns the entry of a key, a new one if there is none and there is room for it.
func (l *local) make(key string, room int64) (e *entry, ok bool) {
	s := &l.shards[shardOf(key, len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok {
		return e, true
	}
	if l.keys.Add(1) > room {
		l.keys.Add(-1)
		return nil, false
	}
	e = &entry{local: l, shard: s, field: ":" + key, start: l.Now().UnixMilli(), place: noPlace, counted: l.age()}
	s.entries[e.key()] = e
	return e, true
}

// overflowKey returns the key under which what has no room is counted.
func overflowKey(key string) string {
	metric, _ := serieskey.MetricOf(key)
	return serieskey.Key{
		Metric:     metric,
		Attributes: []serieskey.Attribute{{Name: serieskey.OverflowAttribute, Value: serieskey.BoolValue(true)}},
	}.String()
}

// take appends the entries that have changed since the last call.
func (s *localShard) take(dst []*entry) []*entry {
	s.changedMu.Lock()
	defer s.changedMu.Unlock()
	dst = append(dst, s.changed...)
	clear(s.changed)
	s.changed = s.changed[:0]
	return dst
}

func (s *localShard) put(e *entry) {
	s.changedMu.Lock()
	defer s.changedMu.Unlock()
	s.changed = append(s.changed, e)
}

func (e *entry) key() string { return e.field[1:] }

// Add adds n to what this process has counted, unless the key was dropped. What it has counted stays at the largest
// int64.
func (e *entry) Add(n int, _ time.Time) bool {
	for {
		old := e.value.Load()
		if old == dropped {
			return false
		}
		sum, fits := saturating.Add(old, int64(n))
		if !e.value.CompareAndSwap(old, sum) {
			continue
		}
		if !fits {
			e.local.saturated.Add(1)
		}
		break
	}
	// The value is changed before the mark is looked at, and the mark taken away before the value is: so no change is
	// missed.
	if !e.changed.Load() && e.changed.CompareAndSwap(false, true) {
		e.shard.put(e)
	}
	return true
}

var _ store.Counter = (*entry)(nil)

// totals yields what this process has counted.
func (l *local) totals() iter.Seq[store.Total] {
	return func(yield func(store.Total) bool) {
		var list []store.Total
		for i := range l.shards {
			list = l.shards[i].appendTotals(list[:0])
			for _, t := range list {
				if !yield(t) {
					return
				}
			}
		}
	}
}

func (s *localShard) appendTotals(list []store.Total) []store.Total {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, e := range s.entries {
		if n := e.value.Load(); n > 0 {
			start := time.UnixMilli(e.start)
			list = append(list, store.Total{Key: key, Value: int(min(n, math.MaxInt)), Start: start, Last: start})
		}
	}
	return list
}
