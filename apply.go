package tallyprocessor

import (
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/cardinality"
	"github.com/logtally/tallyprocessor/internal/extract"
)

// apply takes the counts of a batch to the store. It runs on a worker.
func (t *tally) apply(w *worker, b *extract.Batch) {
	w.at = 0
	for w.at < b.Len() {
		if !t.applyFrom(w, b) {
			return // past the deadline, what is not in the ledger is lost
		}
	}
	t.numbers.applied(int64(b.Len()), b.CutValues())
	b.Release()
}

// applyFrom applies the series of a batch from w.at on. That does not come to the end of the batch when the store, or
// anything else here, has panicked: then what is left of the series at fault has failed, and w.at is behind it.
func (t *tally) applyFrom(w *worker, b *extract.Batch) (goOn bool) {
	w.left = b.Series(w.at).Records
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		metric := b.Series(w.at).Metric
		t.numbers.storeErrors.Add(1)
		t.panicLogged.Do(func() {
			t.logger.Error("A worker has recovered from a panic; the series at fault is not counted. Further panics are only counted.",
				zap.String("metric", t.metrics[metric].name), zap.String("panic", fmt.Sprintf("%T", p)), zap.Stack("stack"))
		})
		goOn = w.settle(metric, 0, w.left)
		w.at++
	}()
	if !w.mayGoOn() {
		return false
	}
	t.forgetting.RLock()
	defer t.forgetting.RUnlock()
	if t.binder != nil {
		return t.applyBound(w, b)
	}
	for ; w.at < b.Len(); w.at++ {
		series := b.Series(w.at)
		w.left = series.Records
		key, _ := t.resolve(w, b, w.at, series)
		if t.adder == nil {
			if !t.increment(w, series.Metric, key) {
				return false
			}
			continue
		}
		for amount := series.Amount; amount > 0; {
			n := min(amount, math.MaxInt)
			t.adder.Add(key, int(n))
			amount -= n
		}
		if !w.settle(series.Metric, w.left, 0) {
			return false
		}
		t.numbers.addAmount(series.Metric, series.Amount)
	}
	return true
}

// increment counts the records that are left of a series one by one.
func (t *tally) increment(w *worker, metric int, key string) (goOn bool) {
	for w.left > 0 {
		t.store.Inc(key)
		w.left--
		if !w.settle(metric, 1, 0) {
			return false
		}
	}
	return true
}

// applyBound is the rest of applyFrom for a store that has Counters.
func (t *tally) applyBound(w *worker, b *extract.Batch) (goOn bool) {
	now := t.binder.Now()
	w.resources = t.bindings.appendResources(w.resources[:0], b)
	w.bound.reset(w.at)
	for w.at < b.Len() {
		known, goOn := t.addKnown(w, b, now)
		if !goOn {
			return false
		}
		if known {
			continue
		}
		if !t.addUnknown(w, b, now) {
			return false
		}
		w.at++
	}
	return true
}

// seriesPerLock is how many series are added, and settled, at once: whoever waits for a worker's ledger, or to remember a
// Counter, waits for some microseconds.
const seriesPerLock = 64

// addKnown adds series whose Counters are known, until there is one that is not, or enough is done at once.
func (t *tally) addKnown(w *worker, b *extract.Batch, now time.Time) (known, goOn bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return false, false
	}
	t.bindings.mu.RLock()
	defer t.bindings.mu.RUnlock()
	if w.at >= w.bound.end() {
		w.bound.look(t.bindings, b, w.resources, w.at, min(w.at+seriesPerLock, b.Len()))
	}
	for ; w.at < w.bound.end(); w.at++ {
		series := b.Series(w.at)
		w.left = series.Records
		counter, ok := w.bound.counter(t.bindings, w.at)
		if !ok || !addTo(counter, series.Amount, now) {
			return false, true
		}
		w.counted[series.Metric] += series.Records
		t.numbers.addAmount(series.Metric, series.Amount)
	}
	return true, true
}

// addUnknown adds the series that w is at, whose Counter is not known or was dropped.
func (t *tally) addUnknown(w *worker, b *extract.Batch, now time.Time) (goOn bool) {
	series := b.Series(w.at)
	cutBefore := b.CutValues()
	key, own := t.resolve(w, b, w.at, series)
	if series.Amount > 0 {
		counter := t.binder.Bind(key)
		for !addTo(counter, series.Amount, now) {
			counter = t.binder.Bind(key)
		}
		// What was cut is counted when a key is made of it, so that has to be made each time.
		resource, attributes := b.Identity(w.at)
		if own && b.CutValues() == cutBefore && !b.ResourceWasCut(resource) {
			w.resources[resource] = t.bindings.put(series.Metric, b.Resource(resource), attributes, counter)
		}
	}
	if !w.settle(series.Metric, w.left, 0) {
		return false
	}
	t.numbers.addAmount(series.Metric, series.Amount)
	return true
}

// addTo adds an amount, which may be 0, to a Counter, and says whether the store still has that.
func addTo(counter Counter, amount int64, now time.Time) bool {
	for amount > math.MaxInt { // where an int has 32 bits
		if !counter.Add(math.MaxInt, now) {
			return false
		}
		amount -= math.MaxInt
	}
	return amount == 0 || counter.Add(int(amount), now)
}

// resolve returns the key under which series i of a batch is counted: its own, or an overflow key.
func (t *tally) resolve(w *worker, b *extract.Batch, i int, series extract.Series) (key string, own bool) {
	metric := series.Metric
	limiter := t.limiters[metric]
	fits := !series.TooLong
	if fits {
		w.key = b.AppendKey(w.key[:0], i)
		fits = t.keyLimit == 0 || len(w.key) <= t.keyLimit
	}
	if fits {
		if key, known := limiter.Lookup(w.key); known {
			return key, true
		}
	}
	w.overflow = b.AppendOverflowKey(w.overflow[:0], i)
	if t.keyLimit > 0 && len(w.overflow) > t.keyLimit {
		w.overflow = append(w.overflow[:0], limiter.LastKey()...)
	}
	var v cardinality.Verdict
	if fits {
		v = limiter.Admit(w.key, w.overflow)
	} else {
		v = limiter.Overflow(w.overflow)
	}
	if v.Overflowed {
		t.overflow(w, series, fits)
	}
	if v.New {
		t.numbers.keyLength(len(v.Key))
	}
	if v.New && t.totals != nil {
		t.totals.add(metric, v.Key)
	}
	return v.Key, !v.Overflowed
}

// overflow notes that a series is counted under an overflow key instead of under w.key, if that fits.
func (t *tally) overflow(w *worker, series extract.Series, fits bool) {
	i := series.Metric
	t.numbers.overflowed(i, series.Records)
	name := t.metrics[i].name
	var worst func() []Overflow
	if t.overflows != nil {
		if fits && series.Amount > 0 {
			t.overflows.Overflowed(name, string(w.key), int(min(series.Amount, math.MaxInt)))
		}
		if t.logOverflows {
			worst = func() []Overflow { return t.overflows.Overflows(name, shownOverflows) }
		}
	}
	t.explain.overflowed(i, worst)
}
