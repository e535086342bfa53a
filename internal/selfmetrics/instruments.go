// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/shown"
)

// ProcessorLabel names a processor on the telemetry. In its place, that of a component of another kind is its kind.
const ProcessorLabel = "processor"

// The names of other labels.
const (
	metricLabel = "metric"
	reasonLabel = "reason"
)

// metricsPerGroup is how many metrics go through one set of instruments: with all reasons that stays below the SDK's
// own limit of attribute sets an instrument (see pageCapacity).
const metricsPerGroup = 200

// Instruments tell the Collector's telemetry what a processor does. They read its parts when they are collected.
type Instruments struct {
	// one a group of metrics; the first also tells what is told once for a processor
	builders []*metadata.TelemetryBuilder
	whole    metric.MeasurementOption // attributes of what is told once for a processor
	metrics  []metricOptions
	parts    atomic.Pointer[Parts]
}

// metricOptions are the attributes of what is told of a metric.
type metricOptions struct {
	name     string
	byMetric metric.MeasurementOption
	byReason [reasons]metric.MeasurementOption
}

// NewInstruments registers what reads the parts of a component, whose kind is label, and which counts metrics of some
// names. They are there until Stop.
func NewInstruments(set component.TelemetrySettings, label, id string, names []string, parts Parts) (*Instruments, error) {
	own := attribute.String(label, id)
	n := &Instruments{whole: metric.WithAttributeSet(attribute.NewSet(own)), metrics: make([]metricOptions, len(names))}
	n.parts.Store(&parts)
	for i, name := range names {
		by := attribute.String(metricLabel, name)
		m := metricOptions{name: name, byMetric: metric.WithAttributeSet(attribute.NewSet(own, by))}
		for r := range reasons {
			m.byReason[r] = metric.WithAttributeSet(attribute.NewSet(own, by, attribute.String(reasonLabel, r.String())))
		}
		n.metrics[i] = m
	}
	for from := 0; from < len(names); from += metricsPerGroup {
		if err := n.addGroup(set, own, from); err != nil {
			n.Stop()
			return nil, err
		}
	}
	return n, nil
}

// Freeze lets go of the store: the instruments show what they would show now, but for calls that are still in progress.
func (n *Instruments) Freeze() { n.parts.Store(n.parts.Load().frozen(len(n.metrics))) }

// Stop ends the instruments.
func (n *Instruments) Stop() {
	for _, b := range n.builders {
		b.Shutdown()
	}
}

// Waited enters a wait for a place.
func (n *Instruments) Waited(d time.Duration) {
	n.record(n.builders[0].ProcessorTallyQueueWaitDuration, d)
}

// Committed enters how long a batch that was forwarded has waited for its counts to be durable.
func (n *Instruments) Committed(d time.Duration) {
	n.record(n.builders[0].ProcessorTallyCommitDuration, d)
}

// record keeps the caller's context out of it: an exemplar would hold on to what that holds.
func (n *Instruments) record(histogram metric.Float64Histogram, d time.Duration) {
	histogram.Record(context.Background(), d.Seconds(), n.whole)
}

// addGroup registers what reads the numbers of some metrics, and of the processor itself if they are the first. Their
// meter differs from every other's in its scope attributes, so that the SDK takes its instruments for different ones.
func (n *Instruments) addGroup(set component.TelemetrySettings, id attribute.KeyValue, from int) error {
	group := len(n.builders)
	set.MeterProvider = scopedProvider{set.MeterProvider, []attribute.KeyValue{id, attribute.Int("group", group)}}
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return err
	}
	n.builders = append(n.builders, builder)
	registrations := n.ofMetrics(builder, from, min(from+metricsPerGroup, len(n.metrics)))
	if group == 0 {
		registrations = append(registrations, n.ofWhole(builder)...)
	}
	for _, r := range registrations {
		if err := r.register(r.callback); err != nil {
			return err
		}
	}
	return nil
}

// scopedProvider makes Meters with scope attributes.
type scopedProvider struct {
	metric.MeterProvider
	attributes []attribute.KeyValue
}

// Meter returns a Meter that has the scope attributes besides those of the options.
func (p scopedProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	return p.MeterProvider.Meter(name, append(options, metric.WithInstrumentationAttributes(p.attributes...))...)
}

// registration is a callback and what it is registered with.
type registration struct {
	register func(metric.Int64Callback) error
	callback metric.Int64Callback
}

// ofWhole returns what reads the numbers that are told once for a processor.
func (n *Instruments) ofWhole(b *metadata.TelemetryBuilder) []registration {
	one := func(value func(s snapshot) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value(n.parts.Load().whole()), n.whole)
			return nil
		}
	}
	return []registration{
		{b.RegisterProcessorTallyRecordsReceivedCallback, one(func(s snapshot) int64 { return s.received })},
		{b.RegisterProcessorTallyBatchesCountedCallback, one(func(s snapshot) int64 { return s.Batches })},
		{b.RegisterProcessorTallyStoreAdditionsCallback, one(func(s snapshot) int64 { return s.Keys })},
		{b.RegisterProcessorTallyValuesTruncatedCallback, one(func(s snapshot) int64 { return s.CutValues })},
		{b.RegisterProcessorTallyStoreErrorsCallback, one(func(s snapshot) int64 { return s.StoreErrors })},
		{b.RegisterProcessorTallyStoreSaturationsCallback, one(func(s snapshot) int64 { return s.Saturations })},
		{b.RegisterProcessorTallyQueueSizeCallback, one(func(s snapshot) int64 { return int64(s.queueSize) })},
		{b.RegisterProcessorTallyQueueCapacityCallback, one(func(s snapshot) int64 { return int64(s.queueCapacity) })},
		{b.RegisterProcessorTallyKeyLengthMaxCallback, one(func(s snapshot) int64 { return s.LongestKey })},
		{b.RegisterProcessorTallyRecordsUnconfirmedCallback, one(func(s snapshot) int64 { return s.unconfirmed })},
	}
}

// ofMetrics returns what reads the numbers of the metrics from one on, up to another.
func (n *Instruments) ofMetrics(b *metadata.TelemetryBuilder, from, to int) []registration {
	each := func(value func(m metricSnapshot) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for i := from; i < to; i++ {
				o.Observe(min(value(n.parts.Load().metric(i)), shown.Largest), n.metrics[i].byMetric)
			}
			return nil
		}
	}
	dropped := func(value func(keys, total int) int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			forgotten := n.parts.Load().Applied.Forgotten()
			for _, m := range n.metrics[from:to] {
				f := forgotten[m.name]
				o.Observe(min(int64(value(f.Keys, f.Total)), shown.Largest), m.byMetric)
			}
			return nil
		}
	}
	return []registration{
		{b.RegisterProcessorTallyRecordsCountedCallback, each(func(m metricSnapshot) int64 { return m.counted })},
		{b.RegisterProcessorTallyRecordsInFlightCallback, each(func(m metricSnapshot) int64 { return m.inFlight })},
		{b.RegisterProcessorTallyRecordsOverflowedCallback, each(func(m metricSnapshot) int64 { return m.Overflowed })},
		{b.RegisterProcessorTallyKeysCallback, each(func(m metricSnapshot) int64 { return int64(m.Keys) })},
		{b.RegisterProcessorTallyOverflowKeysCallback, each(func(m metricSnapshot) int64 { return int64(m.OverflowKeys) })},
		{b.RegisterProcessorTallyCardinalityLimitCallback, each(func(m metricSnapshot) int64 { return int64(m.Limit) })},
		{b.RegisterProcessorTallySumCountedCallback, each(func(m metricSnapshot) int64 { return m.Amount })},
		{b.RegisterProcessorTallySumForgottenCallback, dropped(func(_, total int) int { return total })},
		{b.RegisterProcessorTallyKeysForgottenCallback, dropped(func(keys, _ int) int { return keys })},
		{b.RegisterProcessorTallyRecordsNotCountedCallback, func(_ context.Context, o metric.Int64Observer) error {
			for i := from; i < to; i++ {
				m := n.parts.Load().metric(i)
				for r := range reasons {
					o.Observe(m.notCounted[r], n.metrics[i].byReason[r])
				}
			}
			return nil
		}},
	}
}
