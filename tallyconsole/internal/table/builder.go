// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"strings"
	"time"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
)

// overflowFlag is the attribute that marks an overflow key.
const overflowFlag = `"otel.metric.overflow"`

// minCompacted is how many rows a metric has at least before those that are gone are swept out.
const minCompacted = 1024

// Builder makes Snapshots. It is not safe for concurrent use.
type Builder struct {
	metrics map[string]*metricBuilder
	tracker *rates.Tracker
	number  int
	foreign int
	now     time.Time

	// The store's clock is not ours: it may be that of a server, or have been set since.
	listed bool      // a sample has been complete
	newest time.Time // what the store said last in such, of all times of keys
	next   time.Time // newest, with this sample
}

// metricBuilder is what a Builder knows of one metric. Its columns are those of the Snapshots, and only grow.
type metricBuilder struct {
	index   map[string]uint32 // rows by key
	columns []*columnBuilder
	numbers map[Attribute]uint32 // of columns
	shapes  []Shape
	known   map[string]uint32 // shapes by what they are made of

	keys    []string
	starts  []int64
	shapeOf []uint32
	offsets []uint32
	cells   []uint32
	slots   []int32 // this one changes, and is copied

	values []int   // of the sample before
	lasts  []int64 // of the sample before

	nextValues []int // of this one; unseen where there is none yet
	nextLasts  []int64
}

// columnBuilder is a Column that grows.
type columnBuilder struct {
	attribute Attribute
	texts     []string
	numbers   map[string]uint32 // of texts; nil = they are few
}

// unseen is the value of a row that this sample has not met yet.
const unseen = -2

// NewBuilder returns a Builder that keeps the rates of at most maxTracked keys.
func NewBuilder(maxTracked int) *Builder {
	return &Builder{metrics: map[string]*metricBuilder{}, tracker: rates.New(maxTracked)}
}

// Begin begins a sample.
func (b *Builder) Begin() {
	b.number++
	b.foreign = 0
	b.next = b.newest
	for _, m := range b.metrics {
		m.begin()
	}
}

// Add adds what the store has of a key. The key is kept. A total below 0 is taken for 0, and a zero time is not known.
func (b *Builder) Add(key string, value int, start, last time.Time) {
	m, row, ok := b.find(key)
	if !ok {
		b.foreign++
		return
	}
	value = max(value, 0)
	grown := b.grown(m, row, value, start)
	m.starts[row] = unixNano(start)
	m.nextValues[row] = value
	m.nextLasts[row] = unixNano(last)
	b.next = later(b.next, later(start, last))
	if grown > 0 {
		b.count(m, row, grown)
	}
}

// find returns the row of a key, which it makes if there is none; ok is false when the text is no key.
func (b *Builder) find(key string) (m *metricBuilder, row uint32, ok bool) {
	name, ok := serieskey.MetricOf(key)
	if !ok {
		return nil, 0, false
	}
	m, known := b.metrics[name]
	if !known {
		m = newMetricBuilder()
	} else if row, ok = m.index[key]; ok {
		return m, row, true
	}
	if row, ok = m.append(key); ok && !known {
		b.metrics[strings.Clone(name)] = m
	}
	return m, row, ok
}

// unixNano returns 0 for a time that is not known.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// grown returns by how much a total has grown since the sample before. A key that began since then has grown from
// nothing; so has one whose total has fallen, which began anew. Of a key that is older and was not there the growth is
// not known. Of a key that the store lists again, it is what has come since.
func (b *Builder) grown(m *metricBuilder, row uint32, value int, start time.Time) int {
	before, listed := m.values[row], m.nextValues[row]
	switch {
	case before < 0 && !(b.listed && start.After(b.newest)):
		return 0
	case listed != unseen:
		return value - listed
	case before >= 0 && value >= before:
		return value - before
	default:
		return value
	}
}

// count counts how much a key has grown, if there is a slot for it.
func (b *Builder) count(m *metricBuilder, row uint32, grown int) {
	if m.slots[row] < 0 {
		m.slots[row] = b.tracker.Take()
	}
	if m.slots[row] >= 0 {
		b.tracker.Add(m.slots[row], grown)
	}
}

// End ends a sample at now. complete says that the store has listed everything: a key that was not in the listing is
// gone then, and else it is as it was.
func (b *Builder) End(now time.Time, complete bool) *Snapshot {
	s := &Snapshot{
		Number: b.number, Taken: now, Metrics: make(map[string]*Metric, len(b.metrics)), Rates: b.tracker.Sample(now), Foreign: b.foreign,
	}
	b.now = now
	if complete {
		b.listed, b.newest = true, b.next
	}
	for name, m := range b.metrics {
		m.settle(complete)
		view := b.finish(name, m)
		if view.Live == 0 && complete {
			delete(b.metrics, name)
			continue
		}
		s.add(name, view)
	}
	s.Tracked = b.tracker.Used()
	return s
}

func (s *Snapshot) add(name string, view *Metric) {
	s.Metrics[name] = view
	s.Keys += view.Live - view.OverflowKeys
	s.Overflow += view.OverflowKeys
	for _, slot := range view.Slots {
		if slot == rates.Untracked {
			s.Untracked++
		}
	}
}

// finish frees the slots that are not needed, and returns the Metric of the Snapshot.
func (b *Builder) finish(name string, m *metricBuilder) *Metric {
	view := &Metric{Name: name}
	forgotten := later(b.now, b.newest).Add(-rates.Durations[rates.FiveMinutes]).UnixNano()
	for row, value := range m.values {
		slot := m.slots[row]
		switch {
		case slot >= 0 && (value == Gone || b.tracker.Idle(slot)):
			b.tracker.Release(slot)
			m.slots[row] = rates.None
		case slot == rates.Untracked && (value == Gone || m.lasts[row] < forgotten):
			m.slots[row] = rates.None
		}
		if value != Gone {
			view.Live++
		}
	}
	if gone := len(m.values) - view.Live; len(m.values) >= minCompacted && gone > len(m.values)/2 {
		m = m.compacted()
		b.metrics[name] = m
	}
	m.show(view)
	view.count()
	return view
}
