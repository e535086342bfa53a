// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package store is the contract between the components that count and those that keep totals: MetricStore, and what a
// store may implement besides. Everything but MetricStore is optional and found by a type assertion; a store without it
// works, and the documentation of the processor says what then does not. Package storetest checks a store.
package store

import (
	"context"
	"iter"
	"time"
)

// MetricStore keeps one running total per key. It is all that counting needs, so anything with these two methods can
// be injected into the processor.
//
// Both methods are called by several goroutines at once. A key is text as the documentation of the processor describes
// it; the store may keep it. Inc may block: logs wait for it only when the queue is full. The processor calls neither
// method after its Shutdown has returned, except for a call that was blocked then already.
type MetricStore interface {
	// Inc adds one to the total of key. A total that is at the largest int stays there.
	Inc(key string)
	// Get returns the total of key; 0 for a key that was never counted.
	Get(key string) int
}

// Adder is implemented by a MetricStore that can add n at once. A store without it gets n calls of Inc.
type Adder interface {
	// Add adds n, which is positive, to the total of key, as n calls of Inc would.
	Add(key string, n int)
}

// Binder is implemented by a MetricStore whose totals can be added to without a look-up of the key each time. The
// processor keeps the Counters of keys that it sees again and again.
type Binder interface {
	// Bind returns the Counter of key. It does not block.
	Bind(key string) Counter
	// Now returns the time by the clock of the store.
	Now() time.Time
}

// Counter adds to the total of one key. It is safe for concurrent use.
type Counter interface {
	// Add adds n, which is positive, as n calls of Inc would at the time now, of the store's clock; it does not block.
	// The answer is false, and nothing was added, when the store has dropped the key since Bind: the caller binds it
	// anew.
	Add(n int, now time.Time) bool
}

// Lister is implemented by a MetricStore that can list what it holds.
type Lister interface {
	// Totals yields every key once, in no order. A total that changes meanwhile is yielded as it was at some moment
	// during the listing, a key that is new meanwhile may be left out. The listing ends with the first error, whose
	// Total has no meaning; ctx bounds the time a remote store may take.
	Totals(ctx context.Context) iter.Seq2[Total, error]
}

// Flusher is implemented by a MetricStore that buffers. The processor flushes a store that was injected at the end of
// its Shutdown. A StoreExtension flushes its store in its own Shutdown, which is after that of all processors.
type Flusher interface {
	// Flush returns when everything added before the call is as durable as the store makes it, or with an error,
	// at the latest when ctx ends.
	Flush(ctx context.Context) error
}

// Informer is implemented by a MetricStore that is more than totals in memory, for one process and for ever.
type Informer interface {
	// Info returns the same at every call, from the Start of the store on.
	Info() Info
}

// Info is what does not change while a store is open. The zero Info is that of a store of which nothing is known.
type Info struct {
	// Opened is when the store began to count in this process. Keys that were first counted since are new to the world;
	// older ones may have been exported by an earlier process.
	Opened time.Time

	// Durable says that what was added before a Flush that has returned nil outlives the process: it is what the option
	// `durable` takes. Whether it outlives the machine too is a matter of what the store writes to: a file that is
	// synced, a server that does.
	Durable bool

	// Shared says that other processes count in the store too.
	Shared bool

	// SettleTime is how long totals may be lower than they were, as those of a server are that has failed over to a
	// replica which is behind, until the writers have brought back what is missing. A total that is lower for longer
	// has begun anew. 0 = they never fall.
	SettleTime time.Duration

	// ForgetAfter is how long a key is idle before the store drops it; 0 = it never does.
	ForgetAfter time.Duration
}

// Describer is implemented by a MetricStore that keeps what readers need to know of its metrics besides their totals.
type Describer interface {
	// Describe sets the description of a metric. The last word counts.
	Describe(d Description)
	// Descriptions returns what was described, in no order. The caller owns the result.
	Descriptions() []Description
}

// Description is what a backend shows of a metric.
type Description struct {
	Metric      string // its name
	Description string
	Unit        string

	// Sum is what a record adds: `records` for 1, `bytes` for its size, else the OTTL expression that yields it. Empty
	// = it is not known.
	Sum string

	// CardinalityLimit is how many keys of its own the metric may have, overflow keys apart; 0 = any number, or it is
	// not known. Each process of those that share a store keeps to its own.
	CardinalityLimit int

	// Key is the one key that the metric can have, which readers show at 0 before its first record; empty = it has
	// many, or that is not known.
	Key string
}

// Total is what a store knows of one key.
type Total struct {
	Key   string
	Value int
	Start time.Time // when the key was first counted
	Last  time.Time // when it was last counted, to the millisecond

	// Restored is the part of Value that was there already when the store was opened; 0 in a store that does not
	// outlive the process. A store that many processes share cannot tell: there it is Value, or 0 for a key that is
	// newer.
	Restored int
}
