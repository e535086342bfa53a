// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps the balance of records that workers count: how many were committed to them, and what became of
// those.
package ledger

import (
	"sync"
	"sync/atomic"
	"time"
)

// Book is the ledgers of all workers, and what was committed to them. It is safe for concurrent use.
type Book struct {
	committed []atomic.Int64 // records, by metric
	ledgers   []*Ledger
	closed    atomic.Bool
}

// Entry is what a Book has of a metric, in records. Pending are those that were committed and are neither counted nor
// failed.
type Entry struct{ Counted, Failed, Pending int64 }

// New returns a Book for a number of workers and metrics.
func New(workers, metrics int) *Book {
	b := &Book{committed: make([]atomic.Int64, metrics)}
	for range workers {
		b.ledgers = append(b.ledgers, &Ledger{
			counted: make([]int64, metrics), failed: make([]int64, metrics), seen: make([]Entry, metrics),
		})
	}
	return b
}

// Ledgers returns the ledger of each worker.
func (b *Book) Ledgers() []*Ledger { return b.ledgers }

// Commit enters records, by metric, before a worker has them.
func (b *Book) Commit(records []int64) {
	for metric, n := range records {
		if n > 0 {
			b.committed[metric].Add(n)
		}
	}
}

// Read returns what the Book has of a metric.
func (b *Book) Read(metric int) Entry {
	var sum Entry
	// The ledgers are read before the commits, so that a batch that is counted meanwhile is not seen as less than none.
	for _, l := range b.ledgers {
		e := l.read(metric)
		sum.Counted += e.Counted
		sum.Failed += e.Failed
	}
	sum.Pending = b.committed[metric].Load() - sum.Counted - sum.Failed
	return sum
}

// Close closes all ledgers: what is pending afterwards is lost. It waits, no longer than patience, until workers have
// entered what they are at.
func (b *Book) Close(patience time.Duration) {
	until := time.Now().Add(patience)
	for _, l := range b.ledgers {
		l.close(until)
	}
	b.closed.Store(true)
}

// IsClosed says whether Close has returned.
func (b *Book) IsClosed() bool { return b.closed.Load() }

// Ledger is what one worker has dealt with. Only the worker writes in it.
type Ledger struct {
	closed atomic.Bool // the deadline has passed: whatever is not in the ledger by now is lost
	stuck  atomic.Bool // the worker did not let go of the ledger then, which stays as it was seen last

	// mu guards the fields below.
	mu      sync.Mutex
	counted []int64 // records, by metric
	failed  []int64 // records that the store failed on, by metric

	// seenMu guards the field below.
	seenMu sync.Mutex
	seen   []Entry // the ledger as it was read last, by metric
}

// Open takes the ledger for several entries, unless it is closed: after the deadline the worker must not touch the
// store again. The worker gives it back with Done, in microseconds.
func (l *Ledger) Open() bool {
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return false
	}
	return true
}

// Count enters records as counted. The ledger is open.
func (l *Ledger) Count(metric int, records int64) { l.counted[metric] += records }

// Done gives back a ledger that is open.
func (l *Ledger) Done() { l.mu.Unlock() }

// Settle enters records as counted, or as failed, in a ledger that is not open, and says whether the worker may go on.
func (l *Ledger) Settle(metric int, counted, failed int64) (goOn bool) {
	if !l.Open() {
		return false
	}
	defer l.Done()
	l.counted[metric] += counted
	l.failed[metric] += failed
	return true
}

// MayGoOn says whether the ledger is not closed yet.
func (l *Ledger) MayGoOn() bool { return l.Settle(0, 0, 0) }

// read returns what the ledger has of a metric.
func (l *Ledger) read(metric int) Entry {
	l.seenMu.Lock()
	defer l.seenMu.Unlock()
	if !l.stuck.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen[metric] = Entry{Counted: l.counted[metric], Failed: l.failed[metric]}
	}
	return l.seen[metric]
}

// close closes the ledger, when what the worker is at stands in it, but not later than until.
func (l *Ledger) close(until time.Time) {
	l.closed.Store(true)
	for !l.mu.TryLock() {
		if time.Now().After(until) {
			l.stuck.Store(true)
			return
		}
		time.Sleep(time.Millisecond)
	}
	l.mu.Unlock()
}
