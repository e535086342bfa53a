// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"github.com/logtally/tallyprocessor/internal/apply"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/ledger"
)

// Parts are what the instruments read. Their numbers may change meanwhile.
type Parts struct {
	Counts        *Counts
	Book          *ledger.Book
	Applied       Applied
	QueueSize     func() int // places that are taken
	QueueCapacity int        // places
}

// Applied is what an apply.Applier has done.
type Applied interface {
	Numbers() apply.Numbers
	MetricNumbers(i int) apply.MetricNumbers
	Forgotten() map[string]capability.Forgotten
}

// snapshot is what the parts were at a moment, but for what is by metric.
type snapshot struct {
	apply.Numbers
	received, unconfirmed    int64
	queueSize, queueCapacity int
}

// metricSnapshot is what the parts were for a metric.
type metricSnapshot struct {
	apply.MetricNumbers
	counted, inFlight int64 // records
	notCounted        [reasons]int64
}

func (p *Parts) whole() snapshot {
	return snapshot{
		Numbers: p.Applied.Numbers(), received: p.Counts.received.Load(), unconfirmed: p.Counts.unconfirmed.Load(),
		queueSize: p.QueueSize(), queueCapacity: p.QueueCapacity,
	}
}

// metric returns the balance of metric i: what is received and neither counted nor not counted is in flight.
func (p *Parts) metric(i int) metricSnapshot {
	e := p.Book.Read(i)
	m := metricSnapshot{
		MetricNumbers: p.Applied.MetricNumbers(i), counted: e.Counted, inFlight: p.Counts.inside.Load() - p.Counts.settled.Load(),
	}
	if !m.HasAmount {
		m.Amount = e.Counted
	}
	for r := range reasons {
		m.notCounted[r] = p.Counts.notCounted[i][r].Load()
	}
	m.notCounted[StoreError] += e.Failed
	if p.Book.IsClosed() {
		m.notCounted[LostAtShutdown] += e.Pending
	} else {
		m.inFlight += e.Pending
	}
	return m
}

// frozen returns the parts of what has ended: they keep no store, and only calls that are still in progress change
// them.
func (p *Parts) frozen(metrics int) *Parts {
	a := &frozenApplied{numbers: p.Applied.Numbers(), forgotten: p.Applied.Forgotten()}
	for i := range metrics {
		a.metrics = append(a.metrics, p.Applied.MetricNumbers(i))
	}
	size := p.QueueSize()
	return &Parts{
		Counts: p.Counts, Book: p.Book, Applied: a, QueueSize: func() int { return size }, QueueCapacity: p.QueueCapacity,
	}
}

// frozenApplied does not change.
type frozenApplied struct {
	numbers   apply.Numbers
	metrics   []apply.MetricNumbers
	forgotten map[string]capability.Forgotten
}

func (a *frozenApplied) Numbers() apply.Numbers                     { return a.numbers }
func (a *frozenApplied) MetricNumbers(i int) apply.MetricNumbers    { return a.metrics[i] }
func (a *frozenApplied) Forgotten() map[string]capability.Forgotten { return a.forgotten }
