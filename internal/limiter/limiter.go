// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package limiter bounds how many keys a metric has without losing a count.
package limiter

import (
	"sync"

	"github.com/logtally/tallyprocessor/internal/hashmap"
)

// Limiter decides under which key an increment of one metric is counted. The first Limit keys are counted under
// themselves. Further ones are counted under an overflow key of their resource, as long as there are no more than
// Limit of those either, and then under one last key. So a metric has at most 2*Limit+1 keys, and a key, once
// admitted, is never counted elsewhere until it is forgotten.
//
// Limiters of one metric may share its keys: each then admits keys for as long as there are fewer in all than its own
// limit.
//
// A Limiter is safe for concurrent use.
type Limiter struct {
	last  string
	limit int
	*Keys
}

// Keys are the keys of one metric that are admitted. They are safe for concurrent use.
type Keys struct {
	// mu guards the fields below.
	mu       sync.RWMutex
	set      set
	restored map[string]bool // by the shape of keys
}

// NewKeys returns Keys of which none is admitted.
func NewKeys() *Keys {
	return &Keys{set: set{keys: hashmap.New[struct{}](), overflow: hashmap.New[struct{}]()}}
}

// New returns a Limiter of keys that admits limit of them (0 = no limit) and counts what fits nowhere under last.
func New(keys *Keys, limit int, last string) *Limiter {
	return &Limiter{last: last, limit: limit, Keys: keys}
}

// Restore enters a key under which was counted before. It is admitted for good, even beyond the limit.
func (l *Limiter) Restore(key string, overflow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case key == l.last:
		l.set.lastUsed = true
	case overflow:
		l.set.overflow.Put(key, struct{}{})
	default:
		l.set.keys.Put(key, struct{}{})
	}
}

// HasRestored says whether all keys of a shape, which is a text of the caller's, are restored.
func (l *Keys) HasRestored(shape string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.restored[shape]
}

// SetRestored says that all keys of a shape are restored.
func (l *Keys) SetRestored(shape string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.restored == nil {
		l.restored = map[string]bool{}
	}
	l.restored[shape] = true
}

// Reserve makes room for n keys that are restored next, unless there are some already: they may be the same.
func (l *Limiter) Reserve(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set.keys.Len() == 0 {
		l.set.keys.Reserve(n)
	}
}

// Forget frees the place of a key, also of an overflow key, if isGone says so; it is then as one that was never
// counted. isGone is called while the limiter answers nobody, and not before the calls of use that Lookup, Admit and
// Overflow make have returned.
func (l *Limiter) Forget(key string, isGone func(key string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isGone(key) {
		l.set.forget(key, l.last)
	}
}

// Limit returns how many keys, and how many overflow keys besides the last one, are admitted; 0 = no limit.
func (l *Limiter) Limit() int { return l.limit }

// LastKey returns the key under which the Limiter counts what fits nowhere else.
func (l *Limiter) LastKey() string { return l.last }

// Verdict is the answer of a Limiter.
type Verdict struct {
	Key        string // what to count under; safe to keep
	New        bool   // no increment was counted under Key before
	Overflowed bool   // Key is an overflow key
}

// Use is what a caller does with a Verdict before the limiter can forget its key. It must not block, nor call the
// limiter. nil = nothing.
type Use func(Verdict)

func (use Use) with(v Verdict) Verdict {
	if use != nil {
		use(v)
	}
	return v
}

// Lookup returns an admitted key, safe to keep, and whether there is one. It takes a read lock and does not allocate.
func (l *Keys) Lookup(key []byte, use Use) (string, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, k, known := l.set.keys.Get(key)
	if known {
		use.with(Verdict{Key: k})
	}
	return k, known
}

// Admit answers for a key that Lookup did not know, and whose overflow key is overflow. It keeps neither.
func (l *Limiter) Admit(key, overflow []byte, use Use) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return use.with(l.set.admit(key, overflow, l.last, l.limit))
}

// Overflow answers for an increment that has no key of its own, because that would be too long: it is counted under
// overflow if there is room, else under the last key. Where even that overflow key would be too long the caller gives
// the last key for it.
func (l *Limiter) Overflow(overflow []byte, use Use) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return use.with(l.set.admitOverflow(overflow, l.last, l.limit))
}

// Len returns the number of admitted keys and of overflow keys, the last one included.
func (l *Keys) Len() (keys, overflow int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.set.keys.Len(), l.set.overflowKeys()
}

// set is the serial core of Keys.
type set struct {
	keys     *hashmap.Map[struct{}] // admitted keys
	overflow *hashmap.Map[struct{}] // overflow keys of a resource
	lastUsed bool
}

func (s *set) admit(key, overflow []byte, last string, limit int) Verdict {
	if _, k, known := s.keys.Get(key); known { // another worker was faster
		return Verdict{Key: k}
	}
	if limit > 0 && s.keys.Len() >= limit {
		return s.admitOverflow(overflow, last, limit)
	}
	k := string(key)
	s.keys.Put(k, struct{}{})
	return Verdict{Key: k, New: true}
}

func (s *set) admitOverflow(overflow []byte, last string, limit int) Verdict {
	if string(overflow) == last { // a resource without attributes has no overflow key but the last one
		return s.admitLast(last)
	}
	if _, k, known := s.overflow.Get(overflow); known {
		return Verdict{Key: k, Overflowed: true}
	}
	if limit > 0 && s.overflow.Len() >= limit {
		return s.admitLast(last)
	}
	k := string(overflow)
	s.overflow.Put(k, struct{}{})
	return Verdict{Key: k, New: true, Overflowed: true}
}

func (s *set) admitLast(last string) Verdict {
	isNew := !s.lastUsed
	s.lastUsed = true
	return Verdict{Key: last, New: isNew, Overflowed: true}
}

func (s *set) forget(key, last string) {
	if key == last {
		s.lastUsed = false
		return
	}
	s.keys.Delete(key)
	s.overflow.Delete(key)
}

func (s *set) overflowKeys() int {
	if s.lastUsed {
		return s.overflow.Len() + 1
	}
	return s.overflow.Len()
}
