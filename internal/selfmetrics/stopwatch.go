// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"math/rand/v2"
	"time"
)

// measuredOf is of how many batches one is measured: to read the clock takes longer than to count a small batch.
const measuredOf = 64

// Stopwatch measures how long a batch is in the processor. The zero Stopwatch measures nothing.
type Stopwatch struct {
	began   time.Time
	outside time.Duration
}

// StartWatch returns a Stopwatch that runs, for one batch in 64, and else the zero one.
func StartWatch() Stopwatch {
	if rand.Uint32N(measuredOf) > 0 {
		return Stopwatch{}
	}
	return Stopwatch{began: time.Now()}
}

// Outside calls what is not part of the processor.
func (w *Stopwatch) Outside(next func() error) error {
	if w.began.IsZero() {
		return next()
	}
	left := time.Now()
	defer func() { w.outside += time.Since(left) }()
	return next()
}

// Processed enters how long a batch was in the processor.
func (n *Instruments) Processed(w *Stopwatch) {
	if !w.began.IsZero() {
		n.record(n.builders[0].ProcessorTallyProcessingDuration, time.Since(w.began)-w.outside)
	}
}
