// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package emit turns the totals of a store into metrics: monotonic sums, cumulative or delta, whose times are the
// moments of collection and never those of records.
package emit

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/logtally/tallyprocessor/internal/identity"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/store"
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
	groups   map[string]*group  // by start

	order []*series // as they are sent; see inOrder
	fresh []*series // that are not in order
	gaps  bool      // series in order have left it

	// Of the present collection. now is Unix time in nanoseconds, as since of the settings.
	number       uint64
	now, since   int64
	descriptions map[string]*store.Description
	points       []point
}

// New returns an Emitter that has emitted nothing.
func New(settings Settings) *Emitter {
	return &Emitter{
		settings: settings, series: map[string]*series{}, byLabels: map[string]*series{}, groups: map[string]*group{},
		descriptions: map[string]*store.Description{},
	}
}

// Collect returns what is to be sent of the totals, in a stable order. It is good until the next call. An error does not keep the good
// part from being returned: the caller sends that and reports the error.
func (e *Emitter) Collect(
	totals iter.Seq2[store.Total, error], descriptions []store.Description, now time.Time,
) (*Collection, error) {
	e.number++
	e.now, e.since = now.UnixNano(), e.settings.Since.UnixNano()
	e.describe(descriptions)
	err, foreign := e.list(totals)
	complete := err == nil
	if complete {
		e.listUncounted(descriptions)
	}
	if foreign > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d of them", errForeignKeys, foreign))
	}
	e.collect(complete)
	return &Collection{emitter: e, points: e.points}, err
}

// collect finds what there is to send. complete says that the listing has every key of the store.
func (e *Emitter) collect(complete bool) {
	e.arrange()
	clear(e.points)
	e.points = slices.Grow(e.points[:0], len(e.order))
	for _, s := range e.order {
		switch {
		case s.listed == e.number:
			if e.update(s, e.whole(s, complete)); s.fell == 0 { // else it is on its way back, or begins anew later
				e.appendTotal(s)
			}
		case complete: // else the key may be there still
			e.appendEnd(s)
		}
	}
}

// list reads what the store has, and returns how many keys are not tally's. An error ends it.
func (e *Emitter) list(totals iter.Seq2[store.Total, error]) (err error, foreign int) { //nolint:revive // it does not keep the rest from being used
	for total, err := range totals {
		if err != nil {
			return fmt.Errorf("list totals: %w", err), foreign
		}
		if !e.read(&total) {
			foreign++
		}
	}
	return nil, foreign
}

func (e *Emitter) emits(metric string) bool {
	return e.settings.Metrics == nil || slices.Contains(e.settings.Metrics, metric)
}

// listUncounted reads, as 0, the keys that exist before their first record.
func (e *Emitter) listUncounted(descriptions []store.Description) {
	for _, d := range descriptions {
		if d.Key == "" || !e.emits(d.Metric) {
			continue
		}
		s := e.series[d.Key]
		if s != nil && s.listed == e.number {
			continue
		}
		start := e.now
		if s != nil && s.uncounted {
			start = s.origin
		}
		at := time.Unix(0, start)
		if e.read(&store.Total{Key: d.Key, Start: at, Last: at}) {
			e.series[d.Key].uncounted = true
		}
	}
}

// read enters a total in the reading of its series, if its metric is emitted. ok is false for a key that does not decode.
func (e *Emitter) read(total *store.Total) (ok bool) {
	s, known := e.series[total.Key]
	switch {
	case known && !s.group.emitted:
		return true
	case !known:
		if metric, ok := identity.MetricOf(total.Key); ok && !e.emits(metric) {
			return true
		}
		if s = e.seriesOf(total.Key); s == nil {
			return false
		}
	}
	e.enter(s, total)
	return true
}

// enter enters a total in the reading of a series: beside what another key of it has.
func (e *Emitter) enter(s *series, total *store.Total) {
	r := reading{total.Value, total.Start.UnixNano()}
	if s.keys != nil {
		e.enterKey(s, total.Key, r)
	}
	if s.listed != e.number {
		s.listed, s.read = e.number, r
	} else {
		s.read.value, _ = saturating.Add(s.read.value, r.value)
		s.read.start = min(s.read.start, r.start)
	}
	if s.first != nil {
		s.first.restored, _ = saturating.Add(s.first.restored, total.Restored)
		s.first.last = max(s.first.last, total.Last.UnixNano())
	}
}

// appendTotal appends the point of a series that the store has, unless there is nothing to tell.
func (e *Emitter) appendTotal(s *series) {
	p := point{series: s, value: s.value, time: s.next(e.now)}
	switch unsent := s.value != s.sent; {
	case e.settings.Delta:
		if !unsent {
			return
		}
	case s.ended:
		return
	case e.settings.StaleAfter > 0 && !unsent && !s.uncounted && e.now-s.changed >= int64(e.settings.StaleAfter):
		p.end = true
	case !s.begun && s.value > 0 && s.start >= e.since:
		p.zero = s.zeroBefore(p.time)
	}
	e.points = append(e.points, p)
}

// appendEnd appends the end of a series whose keys are no longer in the store, or forgets it if it needs none.
func (e *Emitter) appendEnd(s *series) {
	if e.settings.Delta || s.ended || !s.begun {
		e.forget(s)
		return
	}
	e.points = append(e.points, point{series: s, time: s.next(e.now), end: true})
}

// accepted enters that the next consumer has a point.
func (e *Emitter) accepted(p *point) {
	s := p.series
	s.sentTime, s.begun = p.time, true
	if !p.end {
		s.sent = p.value
		return
	}
	s.ended = true
	if s.listed != e.number { // nor has the store the key
		e.forget(s)
	}
}
