// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"slices"
	"sync"
)

// Listeners are those that a Forgetter tells what it has dropped. The zero value is ready; it is safe for concurrent
// use.
type Listeners struct {
	// mu guards told, and is held while keys are dropped and told.
	mu   sync.Mutex
	told []*func(keys []string)
}

// OnForget registers told. unregister waits for a call of told, so told must not call it, nor register another.
func (l *Listeners) OnForget(told func(keys []string)) (unregister func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, &told)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told = slices.DeleteFunc(l.told, func(other *func([]string)) bool { return other == &told })
	}
}

// Drop calls drop, which returns the keys that it has dropped, and tells of them. It returns them too.
func (l *Listeners) Drop(drop func() []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := drop()
	if len(keys) > 0 {
		for _, told := range l.told {
			(*told)(keys)
		}
	}
	return keys
}

// WithoutForgetting runs look while no key is dropped, so that each total is there as a key or as forgotten, and not as
// both.
func (l *Listeners) WithoutForgetting(look func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	look()
}
