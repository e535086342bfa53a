// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"sync"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// forgotten frees what stands for keys that the store has dropped.
//
// No lock keeps counting and dropping apart. A worker binds a key while the limiter cannot lose it, and the limiter
// loses a key only if the store does not have it then: so a key that the store has is in the limiter. The Counter of a
// key that was dropped takes nothing.
type forgotten struct {
	forgets bool // the store does
	byName  map[string]int

	// mu guards the fields below.
	mu      sync.Mutex
	waiting []string // keys that were dropped before the keys of the store were known
	open    bool     // they are known
}

// listen makes the Applier hear of keys that the store drops.
func (a *Applier) listen() {
	a.byName = a.metricNumbers()
	if f, ok := a.Store.(capability.Forgetter); ok {
		a.ends = append(a.ends, f.OnForget(a.dropped))
	}
}

// dropped hears that the store has dropped keys.
func (a *Applier) dropped(keys []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		a.waiting = append(a.waiting, keys...)
		return
	}
	a.forget(keys)
}

// catchUp forgets what was dropped while the keys of the store were listed.
func (a *Applier) catchUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = true
	a.forget(a.waiting)
	a.waiting = nil
}

func (a *Applier) forget(keys []string) {
	for _, key := range keys {
		metric, _ := serieskey.MetricOf(key)
		if i, ours := a.byName[metric]; ours {
			a.forgetKey(i, key)
		}
	}
	a.counters.shrink()
}

// forgetKey forgets a key of metric i, unless the store has it again. It runs in a goroutine of the store's, where a
// panic of the store would end the process: the key keeps its place then.
func (a *Applier) forgetKey(i int, key string) {
	defer func() {
		if p := recover(); p != nil {
			a.StoreFailed()
			a.Observer.Panicked(i, p)
		}
	}()
	a.limiters[i].Forget(key, func(key string) bool {
		back := a.Store.(capability.Forgetter).Has(key)
		a.Observer.KeyDropped(i, key, back)
		return !back
	})
}

func (a *Applier) metricNumbers() map[string]int {
	numbers := map[string]int{}
	for i, m := range a.Metrics {
		numbers[m.Metric] = i
	}
	return numbers
}
