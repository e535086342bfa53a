// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/extract"
)

const (
	// logInterval is the least time between two log lines of one kind about one metric.
	logInterval = time.Minute
	// absentFor is how long a metric must have seen traffic before an attribute that no record had is worth a warning.
	absentFor = time.Minute
	// shownOverflows is how many keys a line about a full limit names, where the configuration allows it.
	shownOverflows = 5
)

// advice says at what level each reason is logged, and which option changes it.
var advice = [reasons]struct {
	level zapcore.Level
	text  string
}{
	Condition:        {zap.DebugLevel, "`conditions`: the records meet none of them"},
	MissingAttribute: {zap.InfoLevel, "`attributes`: give the missing ones a `default_value`, or make them `optional`"},
	ConditionError:   {zap.WarnLevel, "`conditions`: one fails on these records; the error is logged at level debug"},
	ValueError: {zap.WarnLevel, "`value` or `sum`: it fails on these records, as for a member that a parsed map does not have, or yields what cannot be added; " +
		"give an attribute a `default_value`, or make it `optional`; at level debug the error is logged"},
	Skipped:           {zap.WarnLevel, "`queue`: it is full; raise `queue_size` or `num_consumers`, or choose `block` for `on_full`"},
	RefusedDownstream: {zap.DebugLevel, "none: the next component refused them; their sender may resend them"},
	Rejected:          {zap.WarnLevel, "`queue`, if it is full: raise `queue_size` or `num_consumers`; or `error_mode`, if it is `propagate`"},
	StoreError:        {zap.ErrorLevel, "`store`: it failed"},
	LostAtShutdown:    {zap.ErrorLevel, "`shutdown_timeout`: it ended before they were counted"},
}

// Log tells operators in the log why records are not counted. No line holds log content but those that the
// configuration asks for. It is safe for concurrent use.
type Log struct {
	logger  *zap.Logger
	began   time.Time // all times are since then: the wall clock may step
	silent  bool      // says nothing of conditions and expressions that fail
	metrics []metricLines

	resource []presence // of the attributes that `resource_attributes` names
	panicked sync.Once
}

// metricLines are the lines about one metric.
type metricLines struct {
	name       string
	byReason   [reasons]sampler
	overflow   sampler
	attributes []presence
}

// sampler lets a line pass from time to time.
type sampler struct{ next atomic.Int64 } // when one may pass again, in nanoseconds

func (s *sampler) pass(now time.Duration) bool {
	next := s.next.Load()
	return int64(now) >= next && s.next.CompareAndSwap(next, int64(now+logInterval))
}

// presence is what is known of one attribute that a metric counts by.
type presence struct {
	name  string
	value string       // the path of the option with its expression
	done  atomic.Bool  // it was there once, or the warning is out
	since atomic.Int64 // when the first record without it came, in nanoseconds; 0 = none did
}

// NewLog returns a Log about metrics of some names. attributePath returns the path of the option that counts by an
// attribute.
func NewLog(logger *zap.Logger, silent bool, names []string, x *extract.Extractor, attributePath func(metric int, name string) string) *Log {
	e := &Log{logger: logger, began: time.Now(), silent: silent, metrics: make([]metricLines, len(names))}
	e.resource = make([]presence, len(x.ResourceNames()))
	for i, name := range x.ResourceNames() {
		e.resource[i].name = name
	}
	for i, name := range names {
		attributes := x.AttributeNames(i)
		e.metrics[i].name = name
		e.metrics[i].attributes = make([]presence, len(attributes))
		for a, attribute := range attributes {
			e.metrics[i].attributes[a].name = attribute
			e.metrics[i].attributes[a].value = attributePath(i, attribute) + "::value"
		}
	}
	return e
}

// now returns the time since the Log began. It is positive.
func (e *Log) now() time.Duration { return time.Since(e.began) + 1 }

// NotCounted logs, sampled, that metric i does not count some records, and which of its attributes and expressions are
// to blame, if the batch is known.
func (e *Log) NotCounted(i int, r Reason, records int64, b *extract.Batch) {
	if e.silent && (r == ConditionError || r == ValueError) {
		return
	}
	m, a := &e.metrics[i], &advice[r]
	if !e.logger.Core().Enabled(a.level) || !m.byReason[r].pass(e.now()) {
		return
	}
	fields := []zap.Field{
		zap.String("metric", m.name), zap.String("reason", r.String()), zap.Int64("records", records), zap.String("change", a.text),
	}
	if b != nil {
		fields = append(fields, m.blame(i, r, b))
	}
	e.logger.Log(a.level, "Records are not counted. This line is sampled; `records_not_counted` counts all", fields...)
}

// blame names what in the configuration kept records of a batch from being counted. No name is log content.
func (m *metricLines) blame(i int, r Reason, b *extract.Batch) zap.Field {
	var list []string
	missing, failed := b.Uncounted(i)
	switch r {
	case MissingAttribute:
		for _, a := range missing {
			list = append(list, m.attributes[a].name)
		}
		return zap.Strings("attributes", list)
	case ValueError:
		for _, a := range failed {
			list = append(list, m.attributes[a].value)
		}
		if b.NotCounted()[i].AmountFailed {
			list = append(list, fmt.Sprintf("logs::%s::sum", m.name))
		}
		return zap.Strings("options", list)
	}
	return zap.Skip()
}

// Failed logs the error of a condition or an expression, which may quote the record, so that it is for those who ask.
func (e *Log) Failed(i int, err error) {
	if !e.silent {
		e.logger.Debug("A condition or an expression failed on a record", zap.String("metric", e.metrics[i].name), zap.Error(err))
	}
}

// Batch notes which attributes the records of a batch had, and warns, once, of one that none has had for a minute of
// traffic.
func (e *Log) Batch(b *extract.Batch) {
	for i := range e.metrics {
		for a, present := range b.Presence(i) {
			if p := &e.metrics[i].attributes[a]; p.never(present, e) {
				e.logger.Warn("No record so far has an attribute to count by. Check its name",
					zap.String("metric", e.metrics[i].name), zap.String("attribute", p.name), zap.String("change", "`attributes`"))
			}
		}
	}
	for i := range e.resource {
		if p := &e.resource[i]; p.never(b.ResourceHas(i), e) {
			e.logger.Warn("No resource so far has an attribute to count by. Check its name",
				zap.String("attribute", p.name), zap.String("change", "`resource_attributes`"))
		}
	}
}

// never says, once, that nothing had the attribute for long enough.
func (p *presence) never(present bool, e *Log) bool {
	switch {
	case p.done.Load():
		return false
	case present:
		p.done.Store(true)
		return false
	}
	return p.isOverdue(e.now())
}

// isOverdue says, once, that no record has had the attribute for long enough.
func (p *presence) isOverdue(now time.Duration) bool {
	p.since.CompareAndSwap(0, int64(now))
	return now-time.Duration(p.since.Load()) >= absentFor && p.done.CompareAndSwap(false, true)
}

// Overflowed logs, sampled, that metric i has counted under an overflow key. worst, where it is not nil, gives the keys
// that were so counted most.
func (e *Log) Overflowed(i int, worst capability.OverflowKeeper) {
	m := &e.metrics[i]
	if !m.overflow.pass(e.now()) {
		return
	}
	fields := []zap.Field{zap.String("metric", m.name), zap.String("change",
		"`cardinality_limit` or `key_length_limit`: raise it, or count by less; `log_overflowed_keys` names the keys here")}
	if worst != nil {
		var keys []string
		for _, o := range worst.Overflows(m.name, shownOverflows) {
			keys = append(keys, fmt.Sprintf("%d %s", o.Estimate, o.Key))
		}
		fields = append(fields, zap.Strings("keys", keys))
	}
	e.logger.Warn("A limit is reached: further records are counted under an overflow series. This line is sampled; `records_overflowed` counts all", fields...)
}

// Panicked logs, once, that a worker has recovered.
func (e *Log) Panicked(i int, value any) {
	e.panicked.Do(func() {
		e.logger.Error("A worker has recovered from a panic; the series at fault is not counted. Further panics are only counted.",
			zap.String("metric", e.metrics[i].name), zap.String("panic", fmt.Sprintf("%T", value)), zap.Stack("stack"))
	})
}

// Unpublished logs that a key is counted and cannot be shown on the telemetry.
func (e *Log) Unpublished(i int, err error) {
	e.logger.Error("A series is counted but not published", zap.String("metric", e.metrics[i].name), zap.Error(err))
}
