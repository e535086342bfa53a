// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emission

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor"
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
	zero  time.Time // of the zero point that comes before; zero = there is none
	end   bool
}

// count returns how many points it becomes.
func (p *point) count() int {
	if p.zero.IsZero() {
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
func (p *point) size(d *tallyprocessor.Description) int {
	values := len(p.key.Attributes) + len(p.key.Resource)
	return p.count()*(len(p.text)+pointOverhead+values*valueOverhead) + len(d.Description) + len(d.Unit)
}

// payloads cuts a list of points.
func payloads(points []point, descriptions map[string]tallyprocessor.Description) iter.Seq[[]point] {
	return func(yield func([]point) bool) {
		from, count, size := 0, 0, 0
		for i := range points {
			p := &points[i]
			d := descriptions[p.key.Metric]
			bytes := p.size(&d)
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
			scope.Scope().Attributes().PutStr(componentAttribute, e.settings.ID)
		}
		// An end stands alone: contrib's Prometheus exporter takes no further point of a metric behind one.
		if newResource || points[i-1].key.Metric != p.key.Metric || p.end || points[i-1].end {
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

// appendPoints appends the point of a series, with a zero point before it if it has one.
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
	if !p.zero.IsZero() {
		newPoint(list, p.key, p.start, p.zero).SetIntValue(0)
	}
	newPoint(list, p.key, p.start, p.time).SetIntValue(int64(p.value))
}

// newPoint appends a point, which never begins after its own time.
func newPoint(list pmetric.NumberDataPointSlice, key identity.Key, start, at time.Time) pmetric.NumberDataPoint {
	p := list.AppendEmpty()
	p.SetStartTimestamp(pcommon.NewTimestampFromTime(earlier(start, at)))
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
