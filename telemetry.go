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

// The names of attributes. In place of processorLabel, that of a component of another kind is its kind.
const (
	processorLabel = "processor"
	metricLabel    = "metric"
	reasonLabel    = "reason"
)

// numbers are what a tally tells about itself. Counting them costs an atomic addition; the instruments read them when
// they are collected.
type numbers struct {
	builders []*metadata.TelemetryBuilder // one a group of metrics; the first also tells what is told once for a tally
	byTally  metric.MeasurementOption     // attributes of what is told once for a tally

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

// newNumbers returns the numbers of t, which is of a component of the kind that label names, and registers what reads them.
func newNumbers(set processor.Settings, label string, t *tally) (*numbers, error) {
	id := attribute.String(label, set.ID.String())
	n := &numbers{
		byTally: metric.WithAttributeSet(attribute.NewSet(id)),
		metrics: make([]metricNumbers, len(t.metrics)),
	}
	for i, m := range t.metrics {
		name := attribute.String(metricLabel, m.name)
		n.metrics[i].hasAmount = m.Value != ""
		n.metrics[i].byMetric = metric.WithAttributeSet(attribute.NewSet(id, name))
		for r, text := range reasonNames {
			n.metrics[i].byReason[r] = metric.WithAttributeSet(attribute.NewSet(id, name, attribute.String(reasonLabel, text)))
		}
	}
	for from := 0; from < len(t.metrics); from += metricsPerGroup {
		if err := n.addGroup(set.TelemetrySettings, id, t, from); err != nil {
			n.stop()
			return nil, err
		}
	}
	return n, nil
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

func (n *numbers) stop() {
	for _, b := range n.builders {
		b.Shutdown()
	}
}

func (n *numbers) enter(records int64) {
	n.received.Add(records)
	n.inside.Add(records)
}

func (n *numbers) leave(records int64) { n.inside.Add(-records) }

// waited enters a wait for a place. The caller's context stays out of it: an exemplar would hold on to what that holds.
func (n *numbers) waited(d time.Duration) {
	n.builders[0].ProcessorTallyQueueWaitDuration.Record(context.Background(), d.Seconds(), n.byTally)
}

// committed enters how long a batch that was forwarded has waited for its counts to be durable.
func (n *numbers) committed(d time.Duration) {
	n.builders[0].ProcessorTallyCommitDuration.Record(context.Background(), d.Seconds(), n.byTally)
}

// notCounted enters records that metric i does not count.
func (n *numbers) notCounted(i int, r reason, records int64) { n.metrics[i].notCounted[r].Add(records) }

func (n *numbers) applied(keys, cutValues int64) {
	n.batches.Add(1)
	n.keys.Add(keys)
	n.cutValues.Add(cutValues)
}

// addAmount enters what was added for metric i, if that is not the number of its records. At the largest int64 it stays.
func (n *numbers) addAmount(i int, amount int64) {
	for m := &n.metrics[i]; m.hasAmount; {
		old := m.amount.Load()
		if sum, _ := addSaturated(old, amount); m.amount.CompareAndSwap(old, sum) {
			return
		}
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
