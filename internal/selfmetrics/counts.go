// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package selfmetrics is what the processor tells operators about itself: its own metrics, the totals that it publishes
// beside them, and log lines.
package selfmetrics

import "sync/atomic"

// Reason is why a record was not counted.
type Reason int

// The reasons, in the order of the way of a batch.
const (
	Condition         Reason = iota // no condition was met
	MissingAttribute                // an attribute that is neither optional nor has a default was absent
	ConditionError                  // a condition failed
	ValueError                      // an expression failed, or yielded no amount that can be added
	Skipped                         // the queue was full and the policy is to skip
	RefusedDownstream               // the next consumer did not accept the batch
	Rejected                        // tally refused the batch before it was forwarded
	StoreError                      // the store panicked on it
	LostAtShutdown                  // the deadline of Shutdown has passed

	reasons // how many there are
)

// String returns the value of the label `reason`.
func (r Reason) String() string {
	return [reasons]string{
		Condition:         "condition",
		MissingAttribute:  "missing_attribute",
		ConditionError:    "condition_error",
		ValueError:        "value_error",
		Skipped:           "skipped",
		RefusedDownstream: "refused_downstream",
		Rejected:          "rejected",
		StoreError:        "store_error",
		LostAtShutdown:    "lost_at_shutdown",
	}[r]
}

// Counts are the records on their way to the workers. They are safe for concurrent use.
type Counts struct {
	received    atomic.Int64
	inside      atomic.Int64 // of the calls of ConsumeLogs in progress
	settled     atomic.Int64 // of these: records that are committed, and wait to be durable
	unconfirmed atomic.Int64

	notCounted [][reasons]atomic.Int64 // by metric
}

// NewCounts returns Counts of a number of metrics.
func NewCounts(metrics int) *Counts {
	return &Counts{notCounted: make([][reasons]atomic.Int64, metrics)}
}

// Enter enters the records of a call that begins, Leave those of one that ends.
func (c *Counts) Enter(records int64) {
	c.received.Add(records)
	c.inside.Add(records)
}

// Leave is the counterpart of Enter.
func (c *Counts) Leave(records int64) { c.inside.Add(-records) }

// Settle enters records of a call in progress that are committed. Unsettle is its counterpart, before Leave.
func (c *Counts) Settle(records int64) { c.settled.Add(records) }

// Unsettle is the counterpart of Settle.
func (c *Counts) Unsettle(records int64) { c.settled.Add(-records) }

// Unconfirmed enters records that were forwarded, and whose sender was told that they may not be kept.
func (c *Counts) Unconfirmed(records int64) { c.unconfirmed.Add(records) }

// NotCounted enters records that metric i does not count.
func (c *Counts) NotCounted(i int, r Reason, records int64) { c.notCounted[i][r].Add(records) }
