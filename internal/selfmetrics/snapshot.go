package selfmetrics

import (
	"github.com/logtally/tallyprocessor/internal/apply"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/ledger"
)

// Parts are what the instruments read. Their numbers may change meanwhile.
type Parts struct {
	Counts        *Counts
	Applier       *apply.Applier
	Book          *ledger.Book
	QueueSize     func() int // places that are taken
	QueueCapacity int        // places
}

// snapshot is what the parts were at a moment, but for what is by metric.
type snapshot struct {
	apply.Numbers
	received, unconfirmed    int64
	queueSize, queueCapacity int
}

// metricSnapshot is what the parts were for a metric.
type metricSnapshot struct {
	apply.MetricNumbers
	counted, inFlight int64 // records
	notCounted        [reasons]int64
}

// source yields snapshots: of parts that live, or of those that have ended.
type source interface {
	whole() snapshot
	metric(i int) metricSnapshot
	forgotten() map[string]capability.Forgotten
}

func (p Parts) whole() snapshot {
	return snapshot{
		Numbers: p.Applier.Numbers(), received: p.Counts.received.Load(), unconfirmed: p.Counts.unconfirmed.Load(),
		queueSize: p.QueueSize(), queueCapacity: p.QueueCapacity,
	}
}

// metric returns the balance of metric i: what is received and neither counted nor not counted is in flight.
func (p Parts) metric(i int) metricSnapshot {
	e := p.Book.Read(i)
	m := metricSnapshot{
		MetricNumbers: p.Applier.MetricNumbers(i), counted: e.Counted, inFlight: p.Counts.inside.Load() - p.Counts.settled.Load(),
	}
	if !m.HasAmount {
		m.Amount = e.Counted
	}
	for r := range reasons {
		m.notCounted[r] = p.Counts.notCounted[i][r].Load()
	}
	m.notCounted[StoreError] += e.Failed
	if p.Book.IsClosed() {
		m.notCounted[LostAtShutdown] += e.Pending
	} else {
		m.inFlight += e.Pending
	}
	return m
}

func (p Parts) forgotten() map[string]capability.Forgotten { return p.Applier.Forgotten() }

// frozen is a source that does not change, and keeps no store.
type frozen struct {
	all     snapshot
	metrics []metricSnapshot
	dropped map[string]capability.Forgotten
}

func freeze(s source, metrics int) frozen {
	f := frozen{all: s.whole(), dropped: s.forgotten()}
	for i := range metrics {
		f.metrics = append(f.metrics, s.metric(i))
	}
	return f
}

func (f frozen) whole() snapshot                            { return f.all }
func (f frozen) metric(i int) metricSnapshot                { return f.metrics[i] }
func (f frozen) forgotten() map[string]capability.Forgotten { return f.dropped }
