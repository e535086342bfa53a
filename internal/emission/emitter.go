// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package emission turns the totals of a store into metrics: monotonic sums, cumulative or delta, whose times are the
// moments of collection and never those of records.
package emission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// maxPoints is how many points one payload has at the most: what a gRPC message of the default 4 MiB holds several
// times over.
const maxPoints = 4000

// tick is the least time between two points of a series: Prometheus keeps times to the millisecond.
const tick = time.Millisecond

var errForeignKeys = errors.New("store holds keys that are not tally's")

// Settings say how an Emitter emits.
type Settings struct {
	Scope   string // name of the instrumentation scope
	Version string

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
type Emitter struct {
	settings Settings
	series   map[string]*series // by key; those of other metrics are not in it
	number   uint64             // of the collection
}

// series is what an Emitter knows of one key.
type series struct {
	key      identity.Key
	text     string // of the key, to order by
	resource string // text of the resource, to group by

	start    time.Time
	sent     int       // of the total, what the next consumer has accepted
	sentTime time.Time // the time of the last accepted point; zero = none

	value   int       // of the total, at the last collection
	changed time.Time // the moment of the collection that first found it
	fell    time.Time // the moment of the collection that first found value below sent; zero = it is not
	ended   bool      // the next consumer knows of no series, or has accepted its end; until value changes
	listed  uint64    // number of the last collection that found the key in the store
}

// New returns an Emitter that has emitted nothing.
func New(settings Settings) *Emitter {
	return &Emitter{settings: settings, series: map[string]*series{}}
}

// Collection is what is to be sent at one moment.
type Collection struct {
	emitter *Emitter

	// Metrics holds all of it. Send takes it apart.
	Metrics pmetric.Metrics

	parts []part
}

// part is a payload: the next so many ResourceMetrics, and what their acceptance means.
type part struct {
	resources int
	points    []point
}

// point is a total at the moment of collection, or the end of a series, that has no value.
type point struct {
	*series
	value int
	time  time.Time
	end   bool
}

// Collect returns the totals as metrics, in a stable order. An error does not keep the good part from being returned:
// the caller sends that and reports the error.
func (e *Emitter) Collect(
	totals iter.Seq2[tallyprocessor.Total, error], descriptions []tallyprocessor.Description, now time.Time,
) (*Collection, error) {
	points, err := e.points(totals, now)
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.text, b.text)) // the text begins with the metric
	})
	byMetric := map[string]tallyprocessor.Description{}
	for _, d := range descriptions {
		byMetric[d.Metric] = d
	}
	c := &Collection{emitter: e, Metrics: pmetric.NewMetrics()}
	for payload := range slices.Chunk(points, maxPoints) {
		before := c.Metrics.ResourceMetrics().Len()
		e.build(c.Metrics, payload, byMetric)
		c.parts = append(c.parts, part{resources: c.Metrics.ResourceMetrics().Len() - before, points: payload})
	}
	return c, err
}

// points returns what there is to send, in no order.
func (e *Emitter) points(totals iter.Seq2[tallyprocessor.Total, error], now time.Time) ([]point, error) {
	e.number++
	var points []point
	var errs []error
	foreign := 0
	for total, err := range totals {
		if err != nil {
			errs = append(errs, fmt.Errorf("list totals: %w", err))
			break
		}
		metric, ok := identity.MetricOf(total.Key)
		if ok && e.settings.Metrics != nil && !slices.Contains(e.settings.Metrics, metric) {
			continue
		}
		s, ok := e.known(total, now)
		if !ok {
			foreign++
			continue
		}
		if !s.fell.IsZero() {
			continue // it is on its way back, or begins anew later
		}
		points = e.appendTotal(points, s, now)
	}
	if len(errs) == 0 { // else a key that was not listed may be there still
		points = e.appendEnds(points, now)
	}
	if foreign > 0 {
		errs = append(errs, fmt.Errorf("%w: %d of them", errForeignKeys, foreign))
	}
	return points, errors.Join(errs...)
}

// appendTotal appends the point of a series that the store has, unless there is nothing to tell.
func (e *Emitter) appendTotal(points []point, s *series, now time.Time) []point {
	p := point{series: s, value: s.value, time: later(now, s)}
	switch unsent := s.value != s.sent; {
	case e.settings.Delta:
		if !unsent {
			return points
		}
	case s.ended:
		return points
	case e.settings.StaleAfter > 0 && !unsent && now.Sub(s.changed) >= e.settings.StaleAfter:
		p.end = true
	}
	return append(points, p)
}

// appendEnds appends the end of each series whose key is no longer in the store, and forgets those that need none.
func (e *Emitter) appendEnds(points []point, now time.Time) []point {
	for text, s := range e.series {
		switch {
		case s.listed == e.number:
		case e.settings.Delta || s.ended || s.sentTime.IsZero():
			delete(e.series, text)
		default:
			points = append(points, point{series: s, time: later(now, s), end: true})
		}
	}
	return points
}

// later returns the time of the next point of a series: now, or a tick behind the last one should the clock have gone
// back, or have hardly moved.
func later(now time.Time, s *series) time.Time {
	for _, last := range []time.Time{s.start, s.sentTime} {
		if least := last.Add(tick); now.Before(least) {
			now = least
		}
	}
	return now
}

// known returns the series of a total, which it brings up to date. ok is false for a key that does not decode.
func (e *Emitter) known(total tallyprocessor.Total, now time.Time) (s *series, ok bool) {
	s, found := e.series[total.Key]
	switch {
	case !found:
		key, err := identity.Decode(total.Key)
		if err != nil {
			return nil, false
		}
		s = &series{key: key, text: total.Key, resource: identity.Key{Resource: key.Resource}.String(), start: total.Start}
		e.series[total.Key] = s
		if e.settings.Delta {
			s.sent = total.Restored // an earlier process has sent that
		}
		if idle := now.Sub(total.Last); e.settings.StaleAfter > 0 && total.Restored == total.Value && idle >= e.settings.StaleAfter {
			s.value, s.ended = total.Value, true // an earlier process has ended it
		}
	case s.start.Equal(total.Start) && total.Value < s.sent && e.settles(s, now):
		s.listed = e.number
		return s, true
	case !s.start.Equal(total.Start) || total.Value < s.sent: // the store has begun anew
		*s = series{key: s.key, text: s.text, resource: s.resource, start: total.Start}
	}
	s.listed, s.fell = e.number, time.Time{}
	if s.value != total.Value {
		s.value, s.changed, s.ended = total.Value, now, false
	}
	return s, true
}

// settles says whether a series that has fallen may come back.
func (e *Emitter) settles(s *series, now time.Time) bool {
	if e.settings.Settle <= 0 {
		return false
	}
	if s.fell.IsZero() {
		s.fell = now
	}
	return now.Sub(s.fell) < e.settings.Settle
}

// build appends a payload.
func (e *Emitter) build(metrics pmetric.Metrics, points []point, descriptions map[string]tallyprocessor.Description) {
	var scope pmetric.ScopeMetrics
	var list pmetric.NumberDataPointSlice
	for i, p := range points {
		newResource := i == 0 || points[i-1].resource != p.resource
		if newResource {
			rm := metrics.ResourceMetrics().AppendEmpty()
			put(rm.Resource().Attributes(), p.key.Resource)
			scope = rm.ScopeMetrics().AppendEmpty()
			scope.Scope().SetName(e.settings.Scope)
			scope.Scope().SetVersion(e.settings.Version)
		}
		if newResource || points[i-1].key.Metric != p.key.Metric {
			list = e.appendMetric(scope.Metrics(), p.key.Metric, descriptions[p.key.Metric])
		}
		e.appendPoints(list, p)
	}
}

func (e *Emitter) appendMetric(metrics pmetric.MetricSlice, name string, d tallyprocessor.Description) pmetric.NumberDataPointSlice {
	m := metrics.AppendEmpty()
	m.SetName(name)
	m.SetDescription(d.Description)
	m.SetUnit(d.Unit)
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	if e.settings.Delta {
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	return sum.DataPoints()
}

// appendPoints appends the point of a series. The first cumulative one of a key that is new to the world comes behind a
// zero point at its start, so that what a backend takes for the increase has the first records in it.
func (e *Emitter) appendPoints(list pmetric.NumberDataPointSlice, p point) {
	if p.end {
		newPoint(list, p.key, p.start, p.time).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		return
	}
	if e.settings.Delta {
		start := p.sentTime
		if start.IsZero() {
			start = p.start
			if start.Before(e.settings.Since) {
				start = e.settings.Since
			}
		}
		newPoint(list, p.key, start, p.time).SetIntValue(int64(p.value - p.sent))
		return
	}
	if p.sentTime.IsZero() && !p.start.Before(e.settings.Since) {
		newPoint(list, p.key, p.start, p.start).SetIntValue(0)
	}
	newPoint(list, p.key, p.start, p.time).SetIntValue(int64(p.value))
}

func newPoint(list pmetric.NumberDataPointSlice, key identity.Key, start, at time.Time) pmetric.NumberDataPoint {
	p := list.AppendEmpty()
	p.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	put(p.Attributes(), key.Attributes)
	return p
}

func put(dst pcommon.Map, attributes []identity.Attribute) {
	dst.EnsureCapacity(len(attributes))
	for _, a := range attributes {
		switch a.Value.Kind() {
		case identity.Int:
			dst.PutInt(a.Name, a.Value.Int())
		case identity.Double:
			dst.PutDouble(a.Name, a.Value.Double())
		case identity.Bool:
			dst.PutBool(a.Name, a.Value.Bool())
		case identity.String:
			dst.PutStr(a.Name, a.Value.AsString())
		}
	}
}

// Send hands the collection on, payload by payload, and enters each that was accepted. What was refused is part of the
// next collection. Metrics is empty afterwards.
func (c *Collection) Send(ctx context.Context, next consumer.Metrics) error {
	rest := c.Metrics.ResourceMetrics()
	var errs []error
	for _, part := range c.parts {
		payload := pmetric.NewMetrics()
		taken := 0
		rest.RemoveIf(func(rm pmetric.ResourceMetrics) bool {
			if taken == part.resources {
				return false
			}
			taken++
			rm.MoveTo(payload.ResourceMetrics().AppendEmpty())
			return true
		})
		if err := next.ConsumeMetrics(ctx, payload); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range part.points {
			c.emitter.accepted(p)
		}
	}
	return errors.Join(errs...)
}

// accepted enters that the next consumer has a point.
func (e *Emitter) accepted(p point) {
	p.sentTime = p.time
	if !p.end {
		p.sent = p.value
		return
	}
	p.ended = true
	if p.listed != e.number { // nor has the store the key
		delete(e.series, p.text)
	}
}
