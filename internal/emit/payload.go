// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"errors"
	"iter"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// A payload fits into a gRPC message of the default 4 MiB (google.golang.org/grpc, defaultServerMaxReceiveMessageSize),
// whatever the keys are: maxSize is of an upper bound of its size in OTLP's protobuf encoding. A key alone may be
// larger, by configuration.
const (
	maxPoints = 4000
	maxSize   = 2 << 20
)

// componentAttribute of the scope says which component emits: two that emit series of one name and the same attributes
// are no one series. It is the Collector's own attribute for that.
const componentAttribute = "otelcol.component.id"

// Collection is what is to be sent at one moment.
type Collection struct {
	emitter *Emitter
	points  []*series
}

// Len returns how many points it has.
func (c *Collection) Len() (points int) {
	for _, s := range c.points {
		points += s.points()
	}
	return points
}

// points returns how many points a collection has of the series.
func (s *series) points() int {
	if s.emits == first {
		return 2
	}
	return 1
}

// What a point takes besides the text of its key, at the most: times, value and flags, with its part of the message
// around it; and for each value tags and lengths, and a number that is shorter as text.
const (
	pointOverhead = 128
	valueOverhead = 24
)

// size returns an upper bound of what the points of a series take, with a resource and a metric of its own.
func (s *series) size() int {
	bytes := s.points() * (len(s.text) + pointOverhead + int(s.values)*valueOverhead)
	if d := s.group.description; d != nil {
		bytes += len(d.Description) + len(d.Unit)
	}
	return bytes
}

// payloads cuts a list of series into payloads.
func payloads(list []*series) iter.Seq[[]*series] {
	return func(yield func([]*series) bool) {
		for len(list) > 0 {
			n := fit(list)
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// fit returns how many series go into the next payload: at least one.
func fit(list []*series) int {
	points, size := 0, 0
	for i, s := range list {
		points += s.points()
		size += s.size()
		if i > 0 && (points > maxPoints || size > maxSize) {
			return i
		}
	}
	return len(list)
}

// build makes a payload.
func (e *Emitter) build(list []*series) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	var scope pmetric.ScopeMetrics
	var before *group
	for len(list) > 0 {
		n := together(list)
		g := list[0].group
		if before == nil || before != g && before.resource != g.resource {
			scope = e.appendResource(metrics, g)
		}
		e.appendMetric(scope.Metrics(), list[:n])
		list, before = list[n:], g
	}
	return metrics
}

// together returns how many series are of one metric in the payload. A marker stands alone: contrib's Prometheus
// exporter takes no further point of a metric after one.
func together(list []*series) int {
	n := 1
	for list[0].emits != marker && n < len(list) && list[n].group == list[0].group && list[n].emits != marker {
		n++
	}
	return n
}

func (e *Emitter) appendResource(metrics pmetric.Metrics, g *group) pmetric.ScopeMetrics {
	rm := metrics.ResourceMetrics().AppendEmpty()
	put(rm.Resource().Attributes(), g.attributes)
	sm := rm.ScopeMetrics().AppendEmpty()
	scope := sm.Scope()
	scope.SetName(e.settings.Scope)
	scope.SetVersion(e.settings.Version)
	scope.Attributes().PutStr(componentAttribute, e.settings.ID)
	return sm
}

// appendMetric appends a metric with the points of some series.
func (e *Emitter) appendMetric(metrics pmetric.MetricSlice, list []*series) {
	g := list[0].group
	m := metrics.AppendEmpty()
	m.SetName(g.metric)
	if d := g.description; d != nil {
		m.SetDescription(d.Description)
		m.SetUnit(d.Unit)
	}
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	if e.settings.Delta {
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	points := sum.DataPoints()
	points.EnsureCapacity(len(list))
	var attributes []serieskey.Attribute
	for _, s := range list {
		attributes, _ = serieskey.Object(attributes[:0], s.text[len(g.start):len(s.text)-1])
		e.appendPoints(points, s, attributes)
	}
}

// appendPoints appends the point of a series, after a zero point if it has one.
func (e *Emitter) appendPoints(list pmetric.NumberDataPointSlice, s *series, attributes []serieskey.Attribute) {
	at := s.next(e.now)
	switch {
	case s.emits == marker:
		newPoint(list, attributes, s.start, at).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	case e.settings.Delta:
		start := s.sentTime
		if start == 0 {
			start = max(s.start, e.since)
		}
		newPoint(list, attributes, start, at).SetIntValue(int64(s.value - s.sent))
	default:
		if s.emits == first {
			newPoint(list, attributes, s.start, s.zeroTime()).SetIntValue(0)
		}
		newPoint(list, attributes, s.start, at).SetIntValue(int64(s.value))
	}
}

// newPoint appends a point, which never begins after its own time.
func newPoint(list pmetric.NumberDataPointSlice, attributes []serieskey.Attribute, start, at int64) pmetric.NumberDataPoint {
	p := list.AppendEmpty()
	p.SetStartTimestamp(pcommon.Timestamp(min(start, at)))
	p.SetTimestamp(pcommon.Timestamp(at))
	put(p.Attributes(), attributes)
	return p
}

func put(dst pcommon.Map, attributes []serieskey.Attribute) {
	dst.EnsureCapacity(len(attributes))
	for _, a := range attributes {
		switch a.Value.Kind() {
		case serieskey.Int:
			dst.PutInt(a.Name, a.Value.Int())
		case serieskey.Double:
			dst.PutDouble(a.Name, a.Value.Double())
		case serieskey.Bool:
			dst.PutBool(a.Name, a.Value.Bool())
		case serieskey.String:
			dst.PutStr(a.Name, a.Value.AsString())
		}
	}
}

// Send hands the collection on, payload by payload, each made when it is its turn, and enters each that was accepted.
// What was refused is part of the next collection.
func (c *Collection) Send(ctx context.Context, next consumer.Metrics) error {
	var errs []error
	for list := range payloads(c.points) {
		if err := next.ConsumeMetrics(ctx, c.emitter.build(list)); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, s := range list {
			c.emitter.accepted(s)
		}
	}
	return errors.Join(errs...)
}
