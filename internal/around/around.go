// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package around lets those who count in a store take part when it drops keys.
package around

import (
	"slices"
	"sync"
	"sync/atomic"
)

// List has functions that are called around each dropping of keys; see capability.Forgetter. Its zero value is empty. It is safe for
// concurrent use.
type List struct {
	// mu guards list, and is held while its functions are called.
	mu   sync.Mutex
	list []*around // in the order of their registration
}

type around struct {
	call func(drop func() []string)
}

// Add registers f. The one that was registered first is the outermost: its drop calls the next. remove waits for a function that
// runs, so none must call it; nor must one register another.
func (l *List) Add(f func(drop func() (keys []string))) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &around{call: f}
	l.list = append(l.list, a)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(l.list, func(other *around) bool { return other == a })
	}
}

// Do calls drop once inside of all functions, and returns what it has returned; nothing if one of them did not call its own.
func (l *List) Do(drop func() (keys []string)) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var over atomic.Bool
	defer over.Store(true)
	next := sync.OnceValue(func() []string {
		if over.Load() {
			return nil // a function has kept it
		}
		return drop()
	})
	for _, a := range slices.Backward(l.list) {
		inner := next
		next = func() (keys []string) {
			a.call(sync.OnceValue(func() []string {
				keys = inner()
				return keys
			}))
			return keys
		}
	}
	return next()
}
