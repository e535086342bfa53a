// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"sync"
	"sync/atomic"
	"time"
)

// aliases are the keys that are counted under an overflow key for lack of room, as far as somebody has a Counter for
// them. Who has one holds a place for the key in a limit of his own, which is to be free again when nobody counts the
// key any more. They are safe for concurrent use.
type aliases struct {
	// mu guards byKey, and the field counted of each.
	mu    sync.Mutex
	byKey map[string]*alias
}

// alias is the Counter of such a key.
type alias struct {
	*entry
	key     string
	used    atomic.Bool   // since that was last looked at
	dropped atomic.Bool   // it is to be bound anew
	counted time.Duration // when it was last found to be used, by local.age
}

// Add adds n under the overflow key, unless one of both was dropped.
func (a *alias) Add(n int, now time.Time) bool {
	if a.dropped.Load() {
		return false
	}
	if !a.used.Load() {
		a.used.Store(true)
	}
	return a.entry.Add(n, now)
}

// of returns the alias of a key for an overflow entry.
func (l *aliases) of(key string, overflow *entry) *alias {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.byKey[key]
	if !ok || a.entry != overflow {
		a = &alias{entry: overflow, key: key, counted: overflow.local.age()}
		if l.byKey == nil {
			l.byKey = map[string]*alias{}
		}
		l.byKey[key] = a
	}
	return a
}

// has says whether a key is counted under another.
func (l *aliases) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.byKey[key]
	return ok
}

// remove forgets that a key was counted under another: it has its own entry now.
func (l *aliases) remove(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey, key)
}

// idle returns those that were not used for so long.
func (l *aliases) idle(age, idle time.Duration) (list []*alias) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.byKey {
		if a.used.Swap(false) {
			a.counted = age
		} else if age-a.counted >= idle {
			list = append(list, a)
		}
	}
	return list
}

// drop drops those of list that were not used since, and returns their keys.
func (l *aliases) drop(list []*alias) (keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range list {
		if l.byKey[a.key] == a && !a.used.Load() {
			a.dropped.Store(true)
			delete(l.byKey, a.key)
			keys = append(keys, a.key)
		}
	}
	return keys
}
