// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"github.com/logtally/tallyprocessor/internal/apply"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// observer tells a Log and Totals of what happens to keys.
type observer struct {
	log    *Log
	totals *Totals                   // nil = the store is not ours
	worst  capability.OverflowKeeper // nil = no key is to be logged
}

// NewObserver returns who tells log, and totals if it is not nil, of what happens to the keys of a store. logKeys says
// that keys may be logged.
func NewObserver(log *Log, totals *Totals, s store.MetricStore, logKeys bool) apply.Observer {
	o := &observer{log: log, totals: totals}
	if logKeys {
		o.worst, _ = s.(capability.OverflowKeeper)
	}
	return o
}

func (o *observer) NewKey(metric int, key string) {
	if o.totals != nil {
		o.totals.Add(metric, key)
	}
}

func (o *observer) KeyDropped(metric int, key string, back bool) {
	if o.totals == nil {
		return
	}
	o.totals.Remove(metric, key)
	if back {
		o.totals.Add(metric, key)
	}
}

func (o *observer) Overflowed(metric int) { o.log.Overflowed(metric, o.worst) }

func (o *observer) Panicked(metric int, value any) { o.log.Panicked(metric, value) }
