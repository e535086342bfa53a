package tallyprocessor

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// reason is why a record was not counted.
type reason int

const (
	condition         reason = iota // no condition was met
	missingAttribute                // an attribute that is neither optional nor has a default was absent
	conditionError                  // a condition failed
	valueError                      // an expression failed, or yielded no amount that can be added
	skipped                         // the queue was full and the policy is to skip
	refusedDownstream               // the next consumer did not accept the batch
	rejected                        // tally refused the batch before it was forwarded
	storeError                      // the store panicked on it
	lostAtShutdown                  // the deadline of Shutdown has passed
	reasons                         // how many there are
)

var reasonNames = [reasons]string{
	condition:         "condition",
	missingAttribute:  "missing_attribute",
	conditionError:    "condition_error",
	valueError:        "value_error",
	skipped:           "skipped",
	refusedDownstream: "refused_downstream",
	rejected:          "rejected",
	storeError:        "store_error",
	lostAtShutdown:    "lost_at_shutdown",
}

// numbers are what a tally tells about itself. Counting them costs an atomic addition; the instruments read them when
// they are collected.
type numbers struct {
	builder *metadata.TelemetryBuilder
	byTally metric.MeasurementOption // attributes of what is told once for a tally

	received    atomic.Int64
	inside      atomic.Int64 // records of the calls of ConsumeLogs in progress
	settled     atomic.Int64 // of these: records that are committed, and wait to be durable
	batches     atomic.Int64
	keys        atomic.Int64
	cutValues   atomic.Int64
	storeErrors atomic.Int64
	longestKey  atomic.Int64 // in bytes
	unconfirmed atomic.Int64 // records

	metrics []metricNumbers
}

// metricNumbers are the numbers of one metric. What is applied stands in the ledgers of the workers.
type metricNumbers struct {
	byMetric metric.MeasurementOption
	byReason [reasons]metric.MeasurementOption

	notCounted [reasons]atomic.Int64
	overflowed atomic.Int64
	hasAmount  bool         // it adds something else than the number of records
	amount     atomic.Int64 // if hasAmount
}

// newNumbers returns the numbers of t and registers what reads them.
func newNumbers(set processor.Settings, t *tally) (*numbers, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	id := attribute.String("processor", set.ID.String())
	n := &numbers{
		builder: builder,
		byTally: metric.WithAttributeSet(attribute.NewSet(id)),
		metrics: make([]metricNumbers, len(t.metrics)),
	}
	for i, m := range t.metrics {
		name := attribute.String("metric", m.name)
		n.metrics[i].hasAmount = m.Value != ""
		n.metrics[i].byMetric = metric.WithAttributeSet(attribute.NewSet(id, name))
		for r, text := range reasonNames {
			n.metrics[i].byReason[r] = metric.WithAttributeSet(attribute.NewSet(id, name, attribute.String("reason", text)))
		}
	}
	if err := n.register(t); err != nil {
		builder.Shutdown()
		return nil, err
	}
	return n, nil
}

func (n *numbers) register(t *tally) error {
	b := n.builder
	one := func(value func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value(), n.byTally)
			return nil
		}
	}
	each := func(value func(i int) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for i := range n.metrics {
				o.Observe(value(i), n.metrics[i].byMetric)
			}
			return nil
		}
	}
	for _, r := range []struct {
		register func(metric.Int64Callback) error
		callback metric.Int64Callback
	}{
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
		{b.RegisterProcessorTallyLongestKeyCallback, one(n.longestKey.Load)},
		{b.RegisterProcessorTallyRecordsUnconfirmedCallback, one(n.unconfirmed.Load)},
		{b.RegisterProcessorTallyAmountCountedCallback, each(func(i int) int64 {
			if n.metrics[i].hasAmount {
				return min(n.metrics[i].amount.Load(), largestShown)
			}
			counted, _, _ := t.pool.ledger(i)
			return counted
		})},
		{b.RegisterProcessorTallyAmountForgottenCallback, each(func(i int) int64 { return int64(t.forgotten(i).Total) })},
		{b.RegisterProcessorTallyKeysForgottenCallback, each(func(i int) int64 { return int64(t.forgotten(i).Keys) })},
		{b.RegisterProcessorTallyRecordsNotCountedCallback, func(_ context.Context, o metric.Int64Observer) error {
			for i := range n.metrics {
				for r := range reasons {
					o.Observe(n.notCountedFor(t, i, r), n.metrics[i].byReason[r])
				}
			}
			return nil
		}},
	} {
		if err := r.register(r.callback); err != nil {
			return err
		}
	}
	return nil
}

// inFlight returns the records of metric i that are received and neither counted nor not counted.
func (n *numbers) inFlight(t *tally, i int) int64 {
	inside := n.inside.Load() - n.settled.Load()
	if t.pool.hasEnded() {
		return inside
	}
	_, _, pending := t.pool.ledger(i)
	return inside + pending
}

func (n *numbers) notCountedFor(t *tally, i int, r reason) int64 {
	count := n.metrics[i].notCounted[r].Load()
	switch r { //nolint:exhaustive // the others are counted where they happen
	case storeError:
		_, failed, _ := t.pool.ledger(i)
		count += failed
	case lostAtShutdown:
		if t.pool.hasEnded() {
			_, _, pending := t.pool.ledger(i)
			count += pending
		}
	}
	return count
}

func (n *numbers) stop() { n.builder.Shutdown() }

func (n *numbers) enter(records int64) {
	n.received.Add(records)
	n.inside.Add(records)
}

func (n *numbers) leave(records int64) { n.inside.Add(-records) }

// waited enters a wait for a place. The caller's context stays out of it: an exemplar would hold on to what that holds.
func (n *numbers) waited(d time.Duration) {
	n.builder.ProcessorTallyQueueWaitDuration.Record(context.Background(), d.Seconds(), n.byTally)
}

// committed enters how long a batch that was forwarded has waited for its counts to be durable.
func (n *numbers) committed(d time.Duration) {
	n.builder.ProcessorTallyCommitDuration.Record(context.Background(), d.Seconds(), n.byTally)
}

// notCounted enters records that metric i does not count.
func (n *numbers) notCounted(i int, r reason, records int64) { n.metrics[i].notCounted[r].Add(records) }

func (n *numbers) applied(keys, cutValues int64) {
	n.batches.Add(1)
	n.keys.Add(keys)
	n.cutValues.Add(cutValues)
}

// addAmount enters what was added for metric i, if that is not the number of its records.
func (n *numbers) addAmount(i int, amount int64) {
	if n.metrics[i].hasAmount {
		n.metrics[i].amount.Add(amount)
	}
}

// keyLength enters the length of a new key.
func (n *numbers) keyLength(bytes int) {
	for {
		old := n.longestKey.Load()
		if int64(bytes) <= old || n.longestKey.CompareAndSwap(old, int64(bytes)) {
			return
		}
	}
}

func (n *numbers) overflowed(i int, records int64) { n.metrics[i].overflowed.Add(records) }
