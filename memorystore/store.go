package memorystore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

// store is a MemoryStore that knows which sections of its state have changed, and that can be flushed. It is safe for
// concurrent use. Counting never waits for a flush.
type store struct {
	*tallyprocessor.MemoryStore

	// dirty is set after the change that it stands for: whoever clears it and then looks sees that change.
	dirty [state.Sections]atomic.Bool
	loop  atomic.Pointer[loop] // nil before Start

	// forgetting is held while keys are dropped, and while the state is looked at: their totals are in the state either
	// as keys or as forgotten.
	forgetting sync.Mutex
}

// sections is a set of sections.
type sections [state.Sections]bool

var (
	_ tallyprocessor.MetricStore = (*store)(nil)
	_ tallyprocessor.Adder       = (*store)(nil)
	_ tallyprocessor.Binder      = (*store)(nil)
	_ tallyprocessor.Lister      = (*store)(nil)
	_ tallyprocessor.Flusher     = (*store)(nil)
	_ tallyprocessor.Durable     = (*store)(nil)
	_ tallyprocessor.Describer   = (*store)(nil)
	_ tallyprocessor.Opener      = (*store)(nil)
	_ tallyprocessor.Forgetter   = (*store)(nil)
)

func newStore(forgetAfter time.Duration) *store {
	s := &store{MemoryStore: tallyprocessor.NewMemoryStore(tallyprocessor.WithForgetAfter(forgetAfter))}
	_ = s.AroundForget(s.forget) // for as long as there is a store
	return s
}

// forget lets keys be dropped, which changes their sections.
func (s *store) forget(drop func() []string) {
	s.forgetting.Lock()
	defer s.forgetting.Unlock()
	for _, key := range drop() {
		s.mark(state.Bucket(key))
	}
}

// Inc adds one to the total of key.
func (s *store) Inc(key string) { s.Add(key, 1) }

// Add adds n to the total of key.
func (s *store) Add(key string, n int) {
	s.MemoryStore.Add(key, n)
	s.mark(state.Bucket(key))
}

// Bind returns the Counter of key.
func (s *store) Bind(key string) tallyprocessor.Counter {
	return &counter{s.MemoryStore.Bind(key), &s.dirty[state.Bucket(key)]}
}

// counter is a Counter that marks the section of its key.
type counter struct {
	tallyprocessor.Counter
	dirty *atomic.Bool
}

// Add adds n to the total.
func (c *counter) Add(n int, now time.Time) bool {
	ok := c.Counter.Add(n, now)
	mark(c.dirty)
	return ok
}

// Restore sets a total. It is not for a key that is counted at the same time.
func (s *store) Restore(total tallyprocessor.Total) {
	s.MemoryStore.Restore(total)
	s.mark(state.Bucket(total.Key))
}

// Describe sets the description of a metric.
func (s *store) Describe(d tallyprocessor.Description) {
	s.MemoryStore.Describe(d)
	s.mark(state.Meta)
}

// Flush returns when everything added before is in the storage, with the error of the storage, or when ctx ends. What
// is not in the storage then stays in memory and is tried again. After the extension's Shutdown it is an error.
func (s *store) Flush(ctx context.Context) error {
	if l := s.loop.Load(); l != nil {
		return l.flushNow(ctx)
	}
	return nil // before Start nobody has the store
}

// Durable returns nil: there is a storage.
func (s *store) Durable() error { return nil }

func (s *store) mark(section int) { mark(&s.dirty[section]) }

// mark says that a section has changed. It writes only the first time, so that counters do not contend.
func mark(dirty *atomic.Bool) {
	if !dirty.Load() {
		dirty.Store(true)
	}
}

func (s *store) markAll(set *sections) {
	for section, in := range set {
		if in {
			s.mark(section)
		}
	}
}

// takeDirty returns the sections that have changed, and whether there are any; from now on they have not. The caller
// gives back, with markAll, those that it could not save.
func (s *store) takeDirty() (set sections, found bool) {
	for section := range set {
		if s.dirty[section].Load() && s.dirty[section].Swap(false) {
			set[section], found = true, true
		}
	}
	return set, found
}
