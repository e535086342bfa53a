// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package apply takes the counts of batches to a store: it finds the key of each series, within the limits, and adds to
// its total.
package apply

import (
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/ledger"
	"github.com/logtally/tallyprocessor/internal/limiter"
	"github.com/logtally/tallyprocessor/store"
)

// Settings say what an Applier counts, and where.
type Settings struct {
	Logger         *zap.Logger
	Store          store.MetricStore
	Metrics        []store.Description // in the order that the Extractor has them in
	Extractor      *extract.Extractor  // of the same configuration as that of the batches
	KeyLengthLimit int                 // bytes; 0 = no limit
	Observer       Observer
}

// Observer is told what happens to keys. Its methods are called by several goroutines at once, some under a lock of the
// limits, and do not block.
type Observer interface {
	// NewKey says that nothing was counted under a key of metric before, or not since it was dropped.
	NewKey(metric int, key string)
	// KeyDropped says that the store has dropped a key of metric; back, that it has the key again, which begins anew.
	KeyDropped(metric int, key string, back bool)
	// Overflowed says that records of metric are counted under an overflow key.
	Overflowed(metric int)
	// Panicked says what the store, or anything else that a worker runs, has panicked with. The series at fault is not
	// counted.
	Panicked(metric int, value any)
}

// Applier takes counts to a store. It is safe for concurrent use once Introduce has returned.
type Applier struct {
	Settings
	adder    store.Adder               // nil = the store can add 1 only
	binder   store.Binder              // nil = the store has no Counters
	keeper   capability.OverflowKeeper // nil = the store does not remember what overflows
	limiters []*limiter.Limiter
	counters *counters
	numbers  numbers
	forgotten

	ends []func() // undo what Introduce has begun at the store
}

// New returns an Applier that has not looked at its store.
func New(settings Settings) *Applier {
	a := &Applier{Settings: settings, numbers: newNumbers(settings.Metrics)}
	a.adder, a.binder = capability.Counting(settings.Store)
	a.keeper, _ = settings.Store.(capability.OverflowKeeper)
	_, a.forgets = settings.Store.(capability.Forgetter)
	a.counters = newCounters(a.admitted)
	return a
}

// CanAdd says whether the store can add more than 1 at once.
func (a *Applier) CanAdd() bool { return a.adder != nil || a.binder != nil }

// MayBlock says whether the store may block who counts.
func (a *Applier) MayBlock() bool { return a.binder == nil }

// worker is what one goroutine at a time applies batches with.
type worker struct {
	*Applier
	ledger *ledger.Ledger

	key, overflow []byte // scratch: those of the series at hand, overflow if it was needed
	hasOwn        bool   // key fits: the series may have its own

	// Where the worker is in its batch.
	at        int      // series
	left      int64    // records of it that are not settled
	resources []uint64 // the numbers of the batch's resources in counters
	ahead     prefetch
	counter   store.Counter // of the key that was resolved last
}

// Worker returns what applies a batch, and enters each of its records in l. It is for one goroutine at a time.
func (a *Applier) Worker(l *ledger.Ledger) func(*extract.Batch) {
	w := &worker{Applier: a, ledger: l}
	return w.apply
}

func (w *worker) apply(b *extract.Batch) {
	w.at = 0
	for w.at < b.Len() {
		if !w.applyRest(b) {
			return // past the deadline, what is not in the ledger is lost
		}
	}
	w.numbers.applied(b)
	b.Release()
}

// applyRest applies the series of a batch from w.at on. That does not come to the end of the batch when the store, or
// anything else here, has panicked: then what is left of the series at fault has failed, and w.at is after it.
func (w *worker) applyRest(b *extract.Batch) (goOn bool) {
	w.left = b.Series(w.at).Records
	defer func() {
		if p := recover(); p != nil {
			metric := b.Series(w.at).Metric
			w.numbers.storeErrors.Add(1)
			w.Observer.Panicked(metric, p)
			goOn = w.ledger.Settle(metric, 0, w.left)
			w.at++
		}
	}()
	if !w.ledger.MayGoOn() {
		return false
	}
	if w.binder != nil {
		return w.bind(b)
	}
	for ; w.at < b.Len(); w.at++ {
		if !w.add(b, b.Series(w.at)) {
			return false
		}
	}
	return true
}

// add adds a series to a store without Counters.
func (w *worker) add(b *extract.Batch, series extract.Series) (goOn bool) {
	w.left = series.Records
	if series.Amount == 0 {
		return w.settle(series)
	}
	w.makeKey(b, series)
	v := w.resolve(b, series.Metric, nil)
	if w.adder == nil {
		goOn = w.increment(series.Metric, v.Key)
	} else {
		w.addAmount(v.Key, series.Amount)
		goOn = w.settle(series)
	}
	w.noteOverflow(series, v)
	return goOn
}

// settle enters a series that was added.
func (w *worker) settle(series extract.Series) (goOn bool) {
	w.numbers.add(series)
	goOn = w.ledger.Settle(series.Metric, w.left, 0)
	w.left = 0
	return goOn
}

// addAmount adds an amount, which an int of 32 bits may not hold.
func (w *worker) addAmount(key string, amount int64) {
	for amount > 0 {
		n := min(amount, math.MaxInt)
		w.adder.Add(key, int(n))
		amount -= n
	}
}

// increment counts the records that are left of a series one by one.
func (w *worker) increment(metric int, key string) (goOn bool) {
	for w.left > 0 {
		w.Store.Inc(key)
		w.left--
		if !w.ledger.Settle(metric, 1, 0) {
			return false
		}
	}
	return true
}

// bind is the rest of applyRest for a store that has Counters.
func (w *worker) bind(b *extract.Batch) (goOn bool) {
	now := w.binder.Now()
	w.resources = w.counters.appendResources(w.resources[:0], b)
	w.ahead.reset(w.at)
	for w.at < b.Len() {
		known, goOn := w.addKnown(b, now)
		if !goOn {
			return false
		}
		if known {
			continue
		}
		if !w.addUnknown(b, now) {
			return false
		}
		w.at++
	}
	return true
}

// seriesPerLock is how many series are added, and settled, at once: whoever waits for a worker's ledger, or to remember
// a Counter, waits for some microseconds.
const seriesPerLock = 64

// addKnown adds series whose Counters are known, until there is one that is not, or enough is done at once.
func (w *worker) addKnown(b *extract.Batch, now time.Time) (known, goOn bool) {
	if !w.ledger.Open() {
		return false, false
	}
	defer w.ledger.Done()
	w.counters.mu.RLock()
	defer w.counters.mu.RUnlock()
	if w.at >= w.ahead.end() {
		w.ahead.look(w.counters, b, w.resources, w.at, min(w.at+seriesPerLock, b.Len()))
	}
	for ; w.at < w.ahead.end(); w.at++ {
		series := b.Series(w.at)
		w.left = series.Records
		counter, ok := w.ahead.counter(w.counters, w.at)
		if !ok || !addTo(counter, series.Amount, now) {
			return false, true
		}
		w.ledger.Count(series.Metric, series.Records)
		w.numbers.add(series)
	}
	return true, true
}

// addUnknown adds the series that w is at, whose Counter is not known or was dropped.
func (w *worker) addUnknown(b *extract.Batch, now time.Time) (goOn bool) {
	series := b.Series(w.at)
	if series.Amount == 0 { // it makes no key
		return w.settle(series)
	}
	cutBefore := b.CutValues()
	w.makeKey(b, series)
	v := w.resolveCounter(b, series.Metric)
	for !addTo(w.counter, series.Amount, now) { // dropped since
		if !w.ledger.MayGoOn() {
			return false
		}
		v = w.resolveCounter(b, series.Metric)
	}
	// What was cut is counted when a key is made of it, so that has to be made each time.
	resource, attributes := b.Identity(w.at)
	if !v.Overflowed && b.CutValues() == cutBefore && !b.ResourceWasCut(resource) {
		w.resources[resource] = w.counters.put(series.Metric, b.Resource(resource), attributes, w.counter)
	}
	goOn = w.settle(series)
	w.noteOverflow(series, v)
	return goOn
}

// addTo adds an amount to a Counter, and says whether the store still has that.
func addTo(counter store.Counter, amount int64, now time.Time) bool {
	for amount > math.MaxInt { // where an int has 32 bits
		if !counter.Add(math.MaxInt, now) {
			return false
		}
		amount -= math.MaxInt
	}
	return amount == 0 || counter.Add(int(amount), now)
}
