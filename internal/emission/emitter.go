// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package emission turns the totals of a store into metrics: monotonic sums, cumulative or delta, whose times are the
// moments of collection and never those of records.
package emission

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/identity"
)

var errForeignKeys = errors.New("store holds keys that are not tally's")

// Settings say how an Emitter emits.
type Settings struct {
	Scope   string // name of the instrumentation scope
	Version string
	ID      string // of the component that emits; no other of its Scope has it at the time

	// Delta makes it emit what was added since the last emission, instead of totals.
	Delta bool

	// StaleAfter is how long a cumulative series goes on unchanged before it ends: with one point that has no recorded
	// value, and then nothing, until it changes. 0 = it never ends while the store has the key.
	StaleAfter time.Duration

	// Settle is how long a total may be lower than before without having begun anew: meanwhile it is not emitted. 0 = it has
	// begun anew at once.
	Settle time.Duration

	// Metrics are the names of the metrics to emit; nil = all of the store.
	Metrics []string

	// Since is the moment from which on a key that is first counted is new to the world: only such a key gets a zero
	// point, since an older one may have been emitted before.
	Since time.Time
}

// Emitter emits the totals of one store. It remembers what the next consumer has accepted, so that a failed send loses
// nothing. It is serial: not safe for concurrent use, and without a clock of its own.
//
// Keys that differ only in the kind of a value (200, "200", 200.0), or in an empty value, are one series, their sum: backends
// such as Prometheus hold all values as text, and would keep one of them and drop the others.
type Emitter struct {
	settings Settings
	series   map[string]*series // by key; those of other metrics are not in it
	byLabels map[string]*series // by the labels of a key, where those are not its text
	number   uint64             // of the collection
	readings []reading          // of this collection
}

// reading is what a listing has of a series: the sum over its keys.
type reading struct {
	*series
	tallyprocessor.Total
}

// New returns an Emitter that has emitted nothing.
func New(settings Settings) *Emitter {
	return &Emitter{settings: settings, series: map[string]*series{}, byLabels: map[string]*series{}}
}

// Collect returns the totals as metrics, in a stable order. An error does not keep the good part from being returned:
// the caller sends that and reports the error.
func (e *Emitter) Collect(
	totals iter.Seq2[tallyprocessor.Total, error], descriptions []tallyprocessor.Description, now time.Time,
) (*Collection, error) {
	points, err := e.points(totals, descriptions, now)
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.text, b.text)) // the text begins with the metric
	})
	byMetric := map[string]tallyprocessor.Description{}
	for _, d := range descriptions {
		byMetric[d.Metric] = d
	}
	c := &Collection{emitter: e, Metrics: pmetric.NewMetrics()}
	for payload := range payloads(points, byMetric) {
		before := c.Metrics.ResourceMetrics().Len()
		e.build(c.Metrics, payload, byMetric)
		c.parts = append(c.parts, part{resources: c.Metrics.ResourceMetrics().Len() - before, points: payload})
	}
	return c, err
}

// points returns what there is to send, in no order.
func (e *Emitter) points(
	totals iter.Seq2[tallyprocessor.Total, error], descriptions []tallyprocessor.Description, now time.Time,
) ([]point, error) {
	listErr, foreign := e.list(totals)
	if listErr == nil {
		e.listUncounted(descriptions, now)
	}
	points := make([]point, 0, len(e.readings))
	for _, r := range e.readings {
		s := r.series
		if e.update(s, e.whole(r, listErr == nil), now); s.fell.IsZero() { // else it is on its way back, or begins anew later
			points = e.appendTotal(points, s, now)
		}
	}
	if listErr == nil { // else a key that was not listed may be there still
		points = e.appendEnds(points, now)
	}
	if foreign > 0 {
		return points, errors.Join(listErr, fmt.Errorf("%w: %d of them", errForeignKeys, foreign))
	}
	return points, listErr
}

// list reads what the store has, and returns how many keys are not tally's. An error ends it.
func (e *Emitter) list(totals iter.Seq2[tallyprocessor.Total, error]) (err error, foreign int) { //nolint:revive // it does not keep the rest from being used
	e.number++
	clear(e.readings)
	e.readings = e.readings[:0]
	for total, err := range totals {
		if err != nil {
			return fmt.Errorf("list totals: %w", err), foreign
		}
		metric, ok := identity.MetricOf(total.Key)
		switch {
		case ok && !e.emits(metric):
		case !e.read(total):
			foreign++
		}
	}
	return nil, foreign
}

func (e *Emitter) emits(metric string) bool {
	return e.settings.Metrics == nil || slices.Contains(e.settings.Metrics, metric)
}

// listUncounted reads, as 0, the keys that exist before their first record.
func (e *Emitter) listUncounted(descriptions []tallyprocessor.Description, now time.Time) {
	for _, d := range descriptions {
		if d.Key == "" || !e.emits(d.Metric) {
			continue
		}
		s := e.series[d.Key]
		if s != nil && s.listed == e.number {
			continue
		}
		start := now
		if s != nil && s.uncounted {
			start = s.origin
		}
		if e.read(tallyprocessor.Total{Key: d.Key, Start: start, Last: start}) {
			e.series[d.Key].uncounted = true
		}
	}
}

// read enters a total in the reading of its series. ok is false for a key that does not decode.
func (e *Emitter) read(total tallyprocessor.Total) (ok bool) {
	s, known := e.series[total.Key]
	if !known {
		key, err := identity.Decode(total.Key)
		if err != nil {
			return false
		}
		s = e.seriesOf(key, total.Key)
	}
	if s.listed != e.number {
		s.listed, s.slot = e.number, len(e.readings)
		e.readings = append(e.readings, reading{s, total})
	} else {
		e.readings[s.slot].add(total)
	}
	if s.keys != nil {
		e.enterKey(s, total)
	}
	return true
}

// add adds what another key of the series has.
func (r *reading) add(o tallyprocessor.Total) {
	r.Value, r.Restored = addUpTo(r.Value, o.Value), addUpTo(r.Restored, o.Restored)
	if o.Start.Before(r.Start) {
		r.Start = o.Start
	}
	if o.Last.After(r.Last) {
		r.Last = o.Last
	}
}

// appendTotal appends the point of a series that the store has, unless there is nothing to tell.
func (e *Emitter) appendTotal(points []point, s *series, now time.Time) []point {
	p := point{series: s, value: s.value, time: s.next(now)}
	switch unsent := s.value != s.sent; {
	case e.settings.Delta:
		if !unsent {
			return points
		}
	case s.ended:
		return points
	case e.settings.StaleAfter > 0 && !unsent && !s.uncounted && now.Sub(s.changed) >= e.settings.StaleAfter:
		p.end = true
	case !s.begun && s.value > 0 && !s.start.Before(e.settings.Since):
		p.zero = s.zeroBefore(p.time)
	}
	return append(points, p)
}

// appendEnds appends the end of each series whose keys are no longer in the store, and forgets those that need none.
func (e *Emitter) appendEnds(points []point, now time.Time) []point {
	for text, s := range e.series {
		switch {
		case s.listed == e.number, text != s.text:
		case e.settings.Delta || s.ended || !s.begun:
			e.forget(s)
		default:
			points = append(points, point{series: s, time: s.next(now), end: true})
		}
	}
	return points
}

// accepted enters that the next consumer has a point.
func (e *Emitter) accepted(p point) {
	p.sentTime, p.begun = p.time, true
	if !p.end {
		p.sent = p.value
		return
	}
	p.ended = true
	if p.listed != e.number { // nor has the store the key
		e.forget(p.series)
	}
}
