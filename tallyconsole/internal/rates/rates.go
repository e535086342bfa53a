// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package rates keeps how fast totals grow: over ten seconds, a minute and five minutes, for a bounded number of keys,
// in a bounded number of bytes for each.
//
// A window is a ring of buckets that begin and end with samples. A rate is what the buckets hold divided by the time
// that they cover, which is the window or, where samples do not fall on its edge, somewhat more. All is serial and has
// no clock.
package rates

import "time"

// The windows, in the order of all arrays here.
const (
	TenSeconds = iota
	OneMinute
	FiveMinutes

	Windows // how many there are
)

// Durations of the windows.
var Durations = [Windows]time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}

// None is the slot of a key that has not grown for five minutes; Untracked of one that has grown and found no slot.
const (
	None      int32 = -1
	Untracked int32 = -2
)

// parts is how many buckets make up a window. One more is in the ring: the one that is being filled.
const (
	parts = 5
	ring  = parts + 1
)

// slack is by how much a bucket or a window may be too short, as a fraction: timers are not exact.
const slack = 0.05

// Tracker counts how much keys have grown, each in a slot of its own. It is not safe for concurrent use.
type Tracker struct {
	limit  int
	free   []int32
	made   int32 // slots that exist: all below
	levels [Windows]level
}

// level is one window.
type level struct {
	span   time.Duration // of a bucket
	window time.Duration
	starts [ring]time.Time
	head   int // the bucket that is being filled
	filled int // buckets that have a start
	sums   [ring][]float32
}

// Rates are the rates at one sample. They do not change.
type Rates struct {
	// PerSecond has a rate for each slot.
	PerSecond [Windows][]float32
	// Covered is the time that the rates are over; 0 = there has been one sample, and no rate is known.
	Covered [Windows]time.Duration
}

// New returns a Tracker with at most limit slots.
func New(limit int) *Tracker {
	t := &Tracker{limit: limit}
	for i := range t.levels {
		t.levels[i] = level{window: Durations[i], span: Durations[i] / parts}
	}
	return t
}

// BytesPerKey is what a slot takes.
const BytesPerKey = Windows * (ring + 1) * 4

// Used returns how many slots are taken.
func (t *Tracker) Used() int { return int(t.made) - len(t.free) }

// Take returns a slot in which nothing is counted yet; Untracked when all are taken.
func (t *Tracker) Take() int32 {
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot
	}
	if int(t.made) >= t.limit {
		return Untracked
	}
	for i := range t.levels {
		for b := range t.levels[i].sums {
			t.levels[i].sums[b] = append(t.levels[i].sums[b], 0)
		}
	}
	t.made++
	return t.made - 1
}

// Release gives a slot back.
func (t *Tracker) Release(slot int32) {
	for i := range t.levels {
		for b := range t.levels[i].sums {
			t.levels[i].sums[b][slot] = 0
		}
	}
	t.free = append(t.free, slot)
}

// Add counts n for a slot, since the last sample.
func (t *Tracker) Add(slot int32, n int) {
	for i := range t.levels {
		t.levels[i].sums[t.levels[i].head][slot] += float32(n)
	}
}

// Idle says whether nothing was counted for a slot in as long as is remembered, five minutes or more.
func (t *Tracker) Idle(slot int32) bool {
	for _, sums := range t.levels[FiveMinutes].sums {
		if sums[slot] != 0 {
			return false
		}
	}
	return true
}

// Sample ends a sample that was taken at now, and returns the rates at it.
func (t *Tracker) Sample(now time.Time) *Rates {
	r := &Rates{}
	for i := range t.levels {
		l := &t.levels[i]
		r.PerSecond[i], r.Covered[i] = l.rates(now, int(t.made))
		l.rotate(now)
	}
	return r
}

// rates sums up as many buckets as cover the window.
func (l *level) rates(now time.Time, slots int) ([]float32, time.Duration) {
	perSecond := make([]float32, slots)
	var covered time.Duration
	for n := 0; n < l.filled && float64(covered) < float64(l.window)*(1-slack); n++ {
		b := (l.head - n + ring) % ring
		covered = now.Sub(l.starts[b])
		for slot, sum := range l.sums[b] {
			perSecond[slot] += sum
		}
	}
	if covered <= 0 {
		return perSecond, 0
	}
	for slot := range perSecond {
		perSecond[slot] /= float32(covered.Seconds())
	}
	return perSecond, covered
}

// rotate begins a new bucket when the one that is being filled is full.
func (l *level) rotate(now time.Time) {
	if l.filled > 0 {
		if float64(now.Sub(l.starts[l.head])) < float64(l.span)*(1-slack) {
			return
		}
		l.head = (l.head + 1) % ring
		clear(l.sums[l.head])
	}
	l.starts[l.head] = now
	l.filled = min(l.filled+1, ring)
}
