package apply

import (
	"math"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/limiter"
)

// resolve returns the key under which the series that w is at is counted: its own, or an overflow key. use is what to do with it before
// it can be forgotten.
func (w *worker) resolve(b *extract.Batch, series extract.Series, use limiter.Use) limiter.Verdict {
	l := w.limiters[series.Metric]
	fits := !series.TooLong
	if fits {
		w.key = b.AppendKey(w.key[:0], w.at)
		fits = w.fits(w.key)
	}
	if fits {
		if key, known := l.Lookup(w.key, use); known {
			return limiter.Verdict{Key: key}
		}
	}
	w.overflow = b.AppendOverflowKey(w.overflow[:0], w.at)
	if !w.fits(w.overflow) {
		w.overflow = append(w.overflow[:0], l.LastKey()...)
	}
	var v limiter.Verdict
	if fits {
		v = l.Admit(w.key, w.overflow, use)
	} else {
		v = l.Overflow(w.overflow, use)
	}
	if use == nil {
		w.noteNew(series.Metric, v)
	}
	if v.Overflowed {
		w.noteOverflow(series, fits)
	}
	return v
}

// resolveCounter is resolve for a store that has Counters: w.counter is that of the key, nil for one under which nothing is added.
func (w *worker) resolveCounter(b *extract.Batch, series extract.Series) limiter.Verdict {
	w.counter = nil
	if !w.forgets {
		v := w.resolve(b, series, nil)
		w.bindKey(series, v)
		return v
	}
	// The key is bound while it cannot be taken out of the limiter: so a key that the store has is in the limiter too.
	return w.resolve(b, series, func(v limiter.Verdict) {
		w.noteNew(series.Metric, v)
		w.bindKey(series, v)
	})
}

func (w *worker) bindKey(series extract.Series, v limiter.Verdict) {
	if series.Amount > 0 {
		w.counter = w.binder.Bind(v.Key)
	}
}

func (w *worker) fits(key []byte) bool { return w.KeyLengthLimit == 0 || len(key) <= w.KeyLengthLimit }

func (w *worker) noteNew(metric int, v limiter.Verdict) {
	if v.New {
		w.numbers.keyLength(len(v.Key))
		w.Observer.NewKey(metric, v.Key)
	}
}

// noteOverflow notes that a series is counted under an overflow key instead of under w.key, if that fits.
func (w *worker) noteOverflow(series extract.Series, fits bool) {
	i := series.Metric
	w.numbers.metrics[i].overflowed.Add(series.Records)
	if w.keeper != nil && fits && series.Amount > 0 {
		w.keeper.Overflowed(w.Metrics[i].Metric, string(w.key), int(min(series.Amount, math.MaxInt)))
	}
	w.Observer.Overflowed(i)
}
