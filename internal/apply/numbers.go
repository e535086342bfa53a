// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"sync/atomic"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/recovered"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/store"
)

// Numbers are what an Applier has done.
type Numbers struct {
	Batches     int64 // applied
	Keys        int64 // series of these batches
	CutValues   int64 // of attributes
	StoreErrors int64 // times that the store has panicked
	Saturations int64 // additions that a total could not take in full
	LongestKey  int64 // bytes
}

// MetricNumbers are what an Applier has done for a metric, and how many keys that has.
type MetricNumbers struct {
	Overflowed         int64 // records that were counted under an overflow key
	Amount             int64 // what was added, where HasAmount; else it is the number of records
	HasAmount          bool
	Keys, OverflowKeys int
	Limit              int // of Keys; 0 = none
}

// numbers are the Numbers while they change.
type numbers struct {
	batches, keys, cutValues, storeErrors, longestKey atomic.Int64
	metrics                                           []metricNumbers
}

type metricNumbers struct {
	overflowed atomic.Int64
	hasAmount  bool // it adds something else than the number of records
	amount     atomic.Int64
}

// sumOfRecords is the Sum of a metric that adds 1 for each record.
const sumOfRecords = "records"

func newNumbers(metrics []store.Description) numbers {
	list := make([]metricNumbers, len(metrics))
	for i, m := range metrics {
		list[i].hasAmount = m.Sum != sumOfRecords
	}
	return numbers{metrics: list}
}

func (n *numbers) applied(b *extract.Batch) {
	n.batches.Add(1)
	n.keys.Add(int64(b.Len()))
	n.cutValues.Add(b.CutValues())
}

// add enters what a series adds, if that is not the number of its records. At the largest int64 it stays.
func (n *numbers) add(series extract.Series) {
	for m := &n.metrics[series.Metric]; m.hasAmount; {
		old := m.amount.Load()
		if sum, _ := saturating.Add(old, series.Amount); m.amount.CompareAndSwap(old, sum) {
			return
		}
	}
}

// keyLength enters the length of a new key.
func (n *numbers) keyLength(bytes int) {
	for {
		old := n.longestKey.Load()
		if int64(bytes) <= old || n.longestKey.CompareAndSwap(old, int64(bytes)) {
			return
		}
	}
}

// Numbers returns what a has done.
func (a *Applier) Numbers() Numbers {
	n := Numbers{
		Batches: a.numbers.batches.Load(), Keys: a.numbers.keys.Load(), CutValues: a.numbers.cutValues.Load(),
		StoreErrors: a.numbers.storeErrors.Load(), LongestKey: a.numbers.longestKey.Load(),
	}
	if s, ok := a.Store.(capability.Saturater); ok {
		a.ask(func() { n.Saturations = s.Saturated() })
	}
	return n
}

// MetricNumbers returns what a has done for metric i.
func (a *Applier) MetricNumbers(i int) MetricNumbers {
	m := &a.numbers.metrics[i]
	n := MetricNumbers{
		Overflowed: m.overflowed.Load(), Amount: m.amount.Load(), HasAmount: m.hasAmount, Limit: a.limiters[i].Limit(),
	}
	n.Keys, n.OverflowKeys = a.Keys(i)
	return n
}

// Forgotten returns what the store has dropped, by the name of a metric; nil if it drops nothing.
func (a *Applier) Forgotten() (forgotten map[string]capability.Forgotten) {
	if f, ok := a.Store.(capability.Forgetter); ok {
		a.ask(func() { forgotten = f.Forgotten() })
	}
	return forgotten
}

// ask calls the store where its panic would end the process. Such a panic is one more error of the store.
func (a *Applier) ask(call func()) {
	if recovered.Call(func() error { call(); return nil }) != nil {
		a.StoreFailed()
	}
}

// StoreFailed enters that the store has failed otherwise than on a series.
func (a *Applier) StoreFailed() { a.numbers.storeErrors.Add(1) }

// admitted returns how many keys the limits have admitted.
func (a *Applier) admitted() (sum int) {
	for _, l := range a.limiters {
		keys, _ := l.Len()
		sum += keys
	}
	return sum
}

// Keys returns how many keys the limit of metric i has admitted, and how many overflow keys.
func (a *Applier) Keys(i int) (keys, overflow int) { return a.limiters[i].Len() }
