package tallyprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/shown"
)

// metricsPerGroup is how many metrics go through one set of instruments: with all reasons that stays below the SDK's own limit
// of attribute sets an instrument (see pageCapacity).
const metricsPerGroup = 200

// addGroup registers what reads the numbers of some metrics, and of the tally itself if they are the first. Their meter differs from
// every other's in its scope attributes, so that the SDK takes its instruments for different ones.
func (n *numbers) addGroup(set component.TelemetrySettings, id attribute.KeyValue, t *tally, from int) error {
	group := len(n.builders)
	set.MeterProvider = scopedProvider{set.MeterProvider, []attribute.KeyValue{id, attribute.Int("group", group)}}
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return err
	}
	n.builders = append(n.builders, builder)
	registrations := n.ofMetrics(builder, t, from, min(from+metricsPerGroup, len(t.metrics)))
	if group == 0 {
		registrations = append(registrations, n.ofTally(builder, t)...)
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

// ofTally returns what reads the numbers that are told once for a tally.
func (n *numbers) ofTally(b *metadata.TelemetryBuilder, t *tally) []registration {
	one := func(value func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value(), n.byTally)
			return nil
		}
	}
	return []registration{
		{b.RegisterProcessorTallyRecordsReceivedCallback, one(n.received.Load)},
		{b.RegisterProcessorTallyBatchesAppliedCallback, one(n.batches.Load)},
		{b.RegisterProcessorTallyKeysAppliedCallback, one(n.keys.Load)},
		{b.RegisterProcessorTallyValuesCutCallback, one(n.cutValues.Load)},
		{b.RegisterProcessorTallyStoreErrorsCallback, one(n.storeErrors.Load)},
		{b.RegisterProcessorTallyStoreSaturationsCallback, one(func() int64 {
			if s, ok := t.store.(Saturater); ok {
				return s.Saturated()
			}
			return 0
		})},
		{b.RegisterProcessorTallyQueueSizeCallback, one(func() int64 { return int64(len(t.pool.places)) })},
		{b.RegisterProcessorTallyQueueCapacityCallback, one(func() int64 { return int64(cap(t.pool.places)) })},
		{b.RegisterProcessorTallyLongestKeyCallback, one(n.longestKey.Load)},
		{b.RegisterProcessorTallyRecordsUnconfirmedCallback, one(n.unconfirmed.Load)},
	}
}

// ofMetrics returns what reads the numbers of the metrics from one on, up to another.
func (n *numbers) ofMetrics(b *metadata.TelemetryBuilder, t *tally, from, to int) []registration {
	each := func(value func(i int) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for i := from; i < to; i++ {
				o.Observe(min(value(i), shown.Largest), n.metrics[i].byMetric)
			}
			return nil
		}
	}
	return []registration{
		{b.RegisterProcessorTallyRecordsCountedCallback, each(func(i int) int64 {
			counted, _, _ := t.pool.ledger(i)
			return counted
		})},
		{b.RegisterProcessorTallyRecordsInFlightCallback, each(func(i int) int64 { return n.inFlight(t, i) })},
		{b.RegisterProcessorTallyRecordsOverflowedCallback, each(func(i int) int64 { return n.metrics[i].overflowed.Load() })},
		{b.RegisterProcessorTallyKeysCallback, each(func(i int) int64 {
			keys, _ := t.limiters[i].Len()
			return int64(keys)
		})},
		{b.RegisterProcessorTallyOverflowKeysCallback, each(func(i int) int64 {
			_, keys := t.limiters[i].Len()
			return int64(keys)
		})},
		{b.RegisterProcessorTallyCardinalityLimitCallback, each(func(i int) int64 { return int64(t.limiters[i].Limit()) })},
		{b.RegisterProcessorTallyAmountCountedCallback, each(func(i int) int64 {
			if n.metrics[i].hasAmount {
				return n.metrics[i].amount.Load()
			}
			counted, _, _ := t.pool.ledger(i)
			return counted
		})},
		{b.RegisterProcessorTallyAmountForgottenCallback, each(func(i int) int64 { return int64(t.forgotten(i).Total) })},
		{b.RegisterProcessorTallyKeysForgottenCallback, each(func(i int) int64 { return int64(t.forgotten(i).Keys) })},
		{b.RegisterProcessorTallyRecordsNotCountedCallback, func(_ context.Context, o metric.Int64Observer) error {
			for i := from; i < to; i++ {
				for r := range reasons {
					o.Observe(n.notCountedFor(t, i, r), n.metrics[i].byReason[r])
				}
			}
			return nil
		}},
	}
}
