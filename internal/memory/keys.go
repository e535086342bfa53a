// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"iter"
	"sync/atomic"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// keyList remembers the keys of a Store by metric: components that start one after the other each ask for the keys of
// their metrics, and to list a million keys takes most of a second. It is good until a key comes or goes, so it takes
// no memory for long.
type keyList struct {
	changes atomic.Uint64 // of the set of keys
	latest  atomic.Pointer[listedKeys]
}

// listedKeys are all keys after some changes.
type listedKeys struct {
	changes  uint64
	byMetric map[string][]listedKey
}

type listedKey struct {
	text  string
	total *total
}

// changed notes that a key comes or goes. The caller has the write lock of its shard.
func (l *keyList) changed() {
	l.changes.Add(1)
	if l.latest.Load() != nil {
		l.latest.Store(nil)
	}
}

// KeysOf returns the keys of a metric, those that have a total, and how many they may be.
func (s *Store) KeysOf(metric string) (keys iter.Seq[string], atMost int) {
	list := s.list().byMetric[metric]
	return func(yield func(string) bool) {
		for _, k := range list {
			if k.total.value.Load() > 0 && !yield(k.text) {
				return
			}
		}
	}, len(list)
}

// list returns the keys as they are now.
func (s *Store) list() *listedKeys {
	changes := s.keys.changes.Load()
	if latest := s.keys.latest.Load(); latest != nil && latest.changes == changes {
		return latest
	}
	l := &listedKeys{changes: changes, byMetric: map[string][]listedKey{}}
	for i := range s.shards {
		s.shards[i].list(l.byMetric)
	}
	s.keys.latest.Store(l)
	return l
}

// list appends the keys of a shard.
func (sh *shard) list(byMetric map[string][]listedKey) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for text, t := range sh.totals {
		metric, _ := serieskey.MetricOf(text)
		byMetric[metric] = append(byMetric[metric], listedKey{text, t})
	}
}
