// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package boundstest checks a counter whose increments can fail without anybody knowing whether they took effect: those
// of a client that lost its connection, of a process that was killed, of a server that failed over. Such a counter has
// no one right value, but it has bounds: every read is at least what had been acknowledged when the read began, and at
// most what had been attempted when it ended. It is how Jepsen checks counters.
//
// It suits any counter: a store of tally's, a database, a service behind a proxy that fails.
package boundstest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrBehind says that a read was below what had been acknowledged when it began: counts are lost, or late.
	ErrBehind = errors.New("read is below what was acknowledged")
	// ErrAhead says that a read was above what had been attempted when it ended: something was counted twice.
	ErrAhead = errors.New("read is above what was attempted")
)

// Checker keeps the bounds of a counter that starts at 0. The zero Checker is ready; it is safe for concurrent use and
// must not be copied.
type Checker struct {
	attempted, acknowledged     atomic.Int64
	reads, failed, behind, over atomic.Int64

	mu sync.Mutex // guards the fields below
	// when the first read that was behind began, of those behind in a row; zero = the last one was not
	dipSince time.Time
	deepest  int64
	longest  time.Duration
}

// Attempt says that n is about to be added. It must come before the attempt.
func (c *Checker) Attempt(n int64) { c.attempted.Add(n) }

// Acknowledge says that n was added and the counter has said so. It must come after the acknowledgement. What was
// attempted and is never acknowledged stays unknown: it may be counted, or not.
func (c *Checker) Acknowledge(n int64) { c.acknowledged.Add(n) }

// Read calls read, which returns the counter's value, and checks the bounds: ErrBehind or ErrAhead, with the numbers.
// An error of read is returned as it is, and checks nothing: a counter that cannot be read is not wrong.
func (c *Checker) Read(read func() (int64, error)) (int64, error) {
	low, began := c.acknowledged.Load(), time.Now()
	value, err := read()
	high := c.attempted.Load()
	if err != nil {
		c.failed.Add(1)
		return value, err
	}
	c.reads.Add(1)
	c.dip(low-value, began)
	switch {
	case value < low:
		c.behind.Add(1)
		return value, fmt.Errorf("%w: %d, of %d", ErrBehind, value, low)
	case value > high:
		c.over.Add(1)
		return value, fmt.Errorf("%w: %d, of %d", ErrAhead, value, high)
	default:
		return value, nil
	}
}

// dip notes by how much a read was behind, if it was.
func (c *Checker) dip(depth int64, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if depth <= 0 {
		c.dipSince = time.Time{}
		return
	}
	if c.dipSince.IsZero() {
		c.dipSince = began
	}
	c.deepest = max(c.deepest, depth)
	c.longest = max(c.longest, time.Since(c.dipSince))
}

// Check is Read for a value that was read while nothing was attempted.
func (c *Checker) Check(value int64) error {
	_, err := c.Read(func() (int64, error) { return value, nil })
	return err
}

// Summary is what a Checker has seen. Its two bounds may belong to different moments while counting goes on.
type Summary struct {
	Attempted, Acknowledged int64
	Reads                   int64 // that returned a value
	Failed                  int64 // reads that returned an error
	Behind, Ahead           int64 // reads that were out of bounds

	Deepest int64 // the most that a read was behind
	// the longest time that all reads were behind, from the beginning of the first to the end of the last
	Longest time.Duration
}

// Summary returns what was seen up to now.
func (c *Checker) Summary() Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Summary{
		// The lower bound first, so that it is not above the other.
		Acknowledged: c.acknowledged.Load(), Attempted: c.attempted.Load(),
		Reads: c.reads.Load(), Failed: c.failed.Load(), Behind: c.behind.Load(), Ahead: c.over.Load(),
		Deepest: c.deepest, Longest: c.longest,
	}
}

// Unknown returns how much was attempted and not acknowledged: how far apart the bounds are.
func (s Summary) Unknown() int64 { return s.Attempted - s.Acknowledged }

// String returns the summary as a sentence for a test's log.
func (s Summary) String() string {
	text := fmt.Sprintf("%d acknowledged of %d attempted; %d reads, %d behind, %d ahead, %d failed",
		s.Acknowledged, s.Attempted, s.Reads, s.Behind, s.Ahead, s.Failed)
	if s.Behind > 0 {
		text += fmt.Sprintf("; behind by %d at most, and for %s", s.Deepest, s.Longest.Round(time.Millisecond))
	}
	return text
}

// And returns what this and another Checker have seen.
func (s Summary) And(o Summary) Summary {
	return Summary{
		Acknowledged: s.Acknowledged + o.Acknowledged, Attempted: s.Attempted + o.Attempted,
		Reads: s.Reads + o.Reads, Failed: s.Failed + o.Failed, Behind: s.Behind + o.Behind, Ahead: s.Ahead + o.Ahead,
		Deepest: max(s.Deepest, o.Deepest), Longest: max(s.Longest, o.Longest),
	}
}
