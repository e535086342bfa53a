// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
)

// memoryStore is a store in memory that knows which sections of its state have changed, and that can be flushed. It is
// safe for concurrent use. Counting never waits for a flush.
type memoryStore struct {
	*memory.Store

	// dirty is set after the change that it stands for: whoever clears it and then looks sees that change.
	dirty   [state.Sections]atomic.Bool
	flusher atomic.Pointer[flusher] // nil before Start
}

// sectionSet is a set of sections of the state.
type sectionSet [state.Sections]bool

func allSections() (all sectionSet) {
	for section := range all {
		all[section] = true
	}
	return all
}

var (
	_ store.MetricStore    = (*memoryStore)(nil)
	_ store.Adder          = (*memoryStore)(nil)
	_ store.Binder         = (*memoryStore)(nil)
	_ store.Lister         = (*memoryStore)(nil)
	_ store.Flusher        = (*memoryStore)(nil)
	_ store.Describer      = (*memoryStore)(nil)
	_ store.Informer       = (*memoryStore)(nil)
	_ capability.Forgetter = (*memoryStore)(nil)
)

func newStore(forgetAfter time.Duration) *memoryStore {
	s := &memoryStore{Store: memory.New(memory.WithForgetAfter(forgetAfter))}
	_ = s.OnForget(s.dropped) // for as long as there is a store
	return s
}

// dropped notes that the sections of keys have changed.
func (s *memoryStore) dropped(keys []string) {
	for _, key := range keys {
		s.markDirty(state.Bucket(key))
	}
}

// Self returns s, whose Add and Bind mark what has changed.
func (s *memoryStore) Self() store.MetricStore { return s }

// Inc adds one to the total of key.
func (s *memoryStore) Inc(key string) { s.Add(key, 1) }

// Add adds n to the total of key.
func (s *memoryStore) Add(key string, n int) {
	s.Store.Add(key, n)
	s.markDirty(state.Bucket(key))
}

// Bind returns the Counter of key.
func (s *memoryStore) Bind(key string) store.Counter {
	return &counter{s.Store.Bind(key), &s.dirty[state.Bucket(key)]}
}

// counter is a Counter that marks the section of its key.
type counter struct {
	store.Counter
	dirty *atomic.Bool
}

// Add adds n to the total.
func (c *counter) Add(n int, now time.Time) bool {
	ok := c.Counter.Add(n, now)
	setDirty(c.dirty)
	return ok
}

// Restore sets a total. It is not for a key that is counted at the same time.
func (s *memoryStore) Restore(total store.Total) {
	s.Store.Restore(total)
	s.markDirty(state.Bucket(total.Key))
}

// Describe sets the description of a metric.
func (s *memoryStore) Describe(d store.Description) {
	s.Store.Describe(d)
	s.markDirty(state.Meta)
}

// Flush returns when everything added before is in the storage, with the error of the storage, or when ctx ends. What
// is not in the storage then stays in memory and is tried again. After the extension's Shutdown it is an error.
func (s *memoryStore) Flush(ctx context.Context) error {
	if f := s.flusher.Load(); f != nil {
		return f.flushNow(ctx)
	}
	return nil // before Start nobody has the store
}

// Info says that there is a storage.
func (s *memoryStore) Info() store.Info {
	info := s.Store.Info()
	info.Durable = true
	return info
}

func (s *memoryStore) markDirty(section int) { setDirty(&s.dirty[section]) }

// setDirty says that a section has changed. It writes only the first time, so that counters do not contend.
func setDirty(dirty *atomic.Bool) {
	if !dirty.Load() {
		dirty.Store(true)
	}
}

// markAllDirty says that the sections of a set have changed.
func (s *memoryStore) markAllDirty(set *sectionSet) {
	for section, in := range set {
		if in {
			s.markDirty(section)
		}
	}
}

// takeDirty returns the sections that have changed, and whether there are any; from now on they have not. The caller
// gives back, with markAllDirty, those that it could not save.
func (s *memoryStore) takeDirty() (set sectionSet, found bool) {
	for section := range set {
		if s.dirty[section].Load() && s.dirty[section].Swap(false) {
			set[section], found = true, true
		}
	}
	return set, found
}
