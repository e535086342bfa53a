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

	"github.com/logtally/tallyprocessor/internal/identity"
)

// A payload fits into a gRPC message of the default 4 MiB (google.golang.org/grpc, defaultServerMaxReceiveMessageSize), whatever
// the keys are: maxSize is of an upper bound of its size in OTLP's protobuf encoding. A key alone may be larger, by configuration.
const (
	maxPoints = 4000
	maxSize   = 2 << 20
)

// componentAttribute of the scope says which component emits: two that emit series of one name and the same attributes are no one
// series. It is the Collector's own attribute for that.
const componentAttribute = "otelcol.component.id"

// Collection is what is to be sent at one moment.
type Collection struct {
	emitter *Emitter
	points  []point
}

// Len returns how many points it has.
func (c *Collection) Len() (points int) {
	for i := range c.points {
		points += c.points[i].count()
	}
	return points
}

// point is a total at the moment of collection, or the end of a series, that has no value.
type point struct {
	*series
	value int
	time  int64
	zero  int64 // the time of the zero point that comes before; 0 = there is none
	end   bool
}

// count returns how many points it becomes.
func (p *point) count() int {
	if p.zero == 0 {
		return 1
	}
	return 2
}

// What a point takes besides the text of its key, at the most: times, value and flags, with its part of the message around it; and for each
// value tags and lengths, and a number that is shorter as text.
const (
	pointOverhead = 128
	valueOverhead = 24
)

// size returns an upper bound of what it takes, with a resource and a metric of its own.
func (p *point) size() int {
	bytes := p.count() * (len(p.text) + pointOverhead + int(p.values)*valueOverhead)
	if d := p.group.description; d != nil {
		bytes += len(d.Description) + len(d.Unit)
	}
	return bytes
}

// payloads cuts a list of points.
func payloads(points []point) iter.Seq[[]point] {
	return func(yield func([]point) bool) {
		from, count, size := 0, 0, 0
		for i := range points {
			p := &points[i]
			bytes := p.size()
			if i > from && (count+p.count() > maxPoints || size+bytes > maxSize) {
				if !yield(points[from:i]) {
					return
				}
				from, count, size = i, 0, 0
			}
			count += p.count()
			size += bytes
		}
		if from < len(points) {
			yield(points[from:])
		}
	}
}

// build makes a payload.
func (e *Emitter) build(points []point) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	var scope pmetric.ScopeMetrics
	var list pmetric.NumberDataPointSlice
	var attributes []identity.Attribute
	for i := range points {
		p := &points[i]
		newResource := i == 0 || points[i-1].group != p.group && points[i-1].group.resource != p.group.resource
		if newResource {
			rm := metrics.ResourceMetrics().AppendEmpty()
			put(rm.Resource().Attributes(), p.group.attributes)
			scope = rm.ScopeMetrics().AppendEmpty()
			scope.Scope().SetName(e.settings.Scope)
			scope.Scope().SetVersion(e.settings.Version)
			scope.Scope().Attributes().PutStr(componentAttribute, e.settings.ID)
		}
		// An end stands alone: contrib's Prometheus exporter takes no further point of a metric behind one.
		if newResource || points[i-1].group != p.group || p.end || points[i-1].end {
			list = e.appendMetric(scope.Metrics(), p.group)
		}
		attributes, _ = identity.Object(attributes[:0], p.text[len(p.group.start):len(p.text)-1])
		e.appendPoints(list, p, attributes)
	}
	return metrics
}

func (e *Emitter) appendMetric(metrics pmetric.MetricSlice, g *group) pmetric.NumberDataPointSlice {
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
	return sum.DataPoints()
}

// appendPoints appends the point of a series, with a zero point before it if it has one.
func (e *Emitter) appendPoints(list pmetric.NumberDataPointSlice, p *point, attributes []identity.Attribute) {
	switch {
	case p.end:
		newPoint(list, attributes, p.start, p.time).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	case e.settings.Delta:
		start := p.sentTime
		if start == 0 {
			start = max(p.start, e.since)
		}
		newPoint(list, attributes, start, p.time).SetIntValue(int64(p.value - p.sent))
	default:
		if p.zero != 0 {
			newPoint(list, attributes, p.start, p.zero).SetIntValue(0)
		}
		newPoint(list, attributes, p.start, p.time).SetIntValue(int64(p.value))
	}
}

// newPoint appends a point, which never begins after its own time.
func newPoint(list pmetric.NumberDataPointSlice, attributes []identity.Attribute, start, at int64) pmetric.NumberDataPoint {
	p := list.AppendEmpty()
	p.SetStartTimestamp(pcommon.Timestamp(min(start, at)))
	p.SetTimestamp(pcommon.Timestamp(at))
	put(p.Attributes(), attributes)
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

// Send hands the collection on, payload by payload, each made when it is its turn, and enters each that was accepted. What was refused
// is part of the next collection.
func (c *Collection) Send(ctx context.Context, next consumer.Metrics) error {
	var errs []error
	for points := range payloads(c.points) {
		if err := next.ConsumeMetrics(ctx, c.emitter.build(points)); err != nil {
			errs = append(errs, err)
			continue
		}
		for i := range points {
			c.emitter.accepted(&points[i])
		}
	}
	return errors.Join(errs...)
}
