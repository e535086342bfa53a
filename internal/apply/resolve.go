// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"math"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/limiter"
)

// makeKey makes the key of the series that w is at, once: what is cut is counted then.
func (w *worker) makeKey(b *extract.Batch, series extract.Series) {
	w.key, w.overflow = w.key[:0], w.overflow[:0]
	w.hasOwn = !series.TooLong
	if w.hasOwn {
		w.key = b.AppendKey(w.key, w.at)
		w.hasOwn = w.fits(w.key)
	}
}

// makeOverflowKey makes, if it is not made yet, the key for when there is no place for w.key.
func (w *worker) makeOverflowKey(b *extract.Batch, l *limiter.Limiter) {
	if len(w.overflow) > 0 {
		return
	}
	w.overflow = b.AppendOverflowKey(w.overflow, w.at)
	if !w.fits(w.overflow) {
		w.overflow = append(w.overflow[:0], l.LastKey()...)
	}
}

// resolve returns the key under which the series whose key was made is counted: that, or an overflow key. use is what
// to do with it before it can be forgotten.
func (w *worker) resolve(b *extract.Batch, metric int, use limiter.Use) (v limiter.Verdict) {
	l := w.limiters[metric]
	if w.hasOwn {
		if key, known := l.Lookup(w.key, use); known {
			return limiter.Verdict{Key: key}
		}
	}
	w.makeOverflowKey(b, l)
	if w.hasOwn {
		v = l.Admit(w.key, w.overflow, use)
	} else {
		v = l.Overflow(w.overflow, use)
	}
	if use == nil {
		w.noteNew(metric, v)
	}
	return v
}

// resolveCounter is resolve for a store that has Counters: w.counter is that of the key.
func (w *worker) resolveCounter(b *extract.Batch, metric int) limiter.Verdict {
	if !w.forgets {
		v := w.resolve(b, metric, nil)
		w.counter = w.binder.Bind(v.Key)
		return v
	}
	// The key is bound while it cannot be taken out of the limiter: so a key that the store has is in the limiter too.
	return w.resolve(b, metric, func(v limiter.Verdict) {
		w.noteNew(metric, v)
		w.counter = w.binder.Bind(v.Key)
	})
}

func (w *worker) fits(key []byte) bool { return w.KeyLengthLimit == 0 || len(key) <= w.KeyLengthLimit }

func (w *worker) noteNew(metric int, v limiter.Verdict) {
	if v.New {
		w.numbers.keyLength(len(v.Key))
		w.Observer.NewKey(metric, v.Key)
	}
}

// noteOverflow notes if the series that was resolved last is counted under an overflow key, instead of under w.key if
// that fits. It is called when the series is settled: what the store makes of it changes no count.
func (w *worker) noteOverflow(series extract.Series, v limiter.Verdict) {
	if !v.Overflowed {
		return
	}
	i := series.Metric
	w.numbers.metrics[i].overflowed.Add(series.Records)
	if w.keeper != nil && w.hasOwn {
		w.keeper.Overflowed(w.Metrics[i].Metric, string(w.key), int(min(series.Amount, math.MaxInt)))
	}
	w.Observer.Overflowed(i)
}
