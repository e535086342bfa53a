// Package extract turns log records into counts by series, folded for a whole batch. It reads the records and
// touches nothing shared, so it runs on the caller's goroutine.
package extract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/fold"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// Settings say what an Extractor counts.
type Settings struct {
	Metrics []Metric

	// ResourceAttributes are the names of the resource attributes that tell series apart; nil = all of them.
	ResourceAttributes []string

	// ValueLengthLimit is the longest string value in bytes; a longer one is cut. 0 = no limit.
	ValueLengthLimit int

	// StopOnError makes Extract return the first error of a condition instead of not counting the record.
	StopOnError bool
}

// Metric is one count.
type Metric struct {
	Name       string
	Conditions []Condition // a record that meets any of them is counted; none = all records
	Attributes []Attribute
}

// Attribute is one dimension of a Metric: the value of Key in the record, else in its scope, else in its resource,
// else Default. A record for which there is none of them is not counted.
type Attribute struct {
	Key     string
	Default *identity.Value
}

// Extractor counts the records of batches. It is immutable and safe for concurrent use.
type Extractor struct {
	settings Settings
	metrics  []metric

	batches sync.Pool // of *Batch
}

// metric is a Metric made ready for the loop over the records, and for rendering keys.
type metric struct {
	conditions []Condition
	attributes []attribute // sorted by key

	keyStart []byte // the text of a key up to its resource: `["name",`
}

type attribute struct {
	key        string
	fallback   []byte // compact form of the default; nil = none
	memberName []byte // `"key":` as it stands in the text of a key
}

// New returns an Extractor. It keeps no part of the settings that the caller may change.
func New(settings Settings) *Extractor {
	if settings.ResourceAttributes != nil {
		settings.ResourceAttributes = slices.Sorted(slices.Values(settings.ResourceAttributes))
		if settings.ResourceAttributes == nil {
			settings.ResourceAttributes = []string{} // none, which is not the same as all
		}
	}
	x := &Extractor{settings: settings, metrics: make([]metric, len(settings.Metrics))}
	for i, m := range settings.Metrics {
		x.metrics[i] = newMetric(m, settings.ValueLengthLimit)
	}
	x.batches.New = func() any { return newBatch(x, fold.NewTable(), fold.NewTable()) }
	return x
}

func newMetric(m Metric, limit int) metric {
	made := metric{
		conditions: m.Conditions,
		keyStart:   append(identity.AppendMetric(nil, m.Name), ','),
		attributes: make([]attribute, len(m.Attributes)),
	}
	for i, a := range m.Attributes {
		made.attributes[i] = attribute{key: a.Key, memberName: append(identity.AppendString(nil, a.Key), ':')}
		if a.Default != nil {
			made.attributes[i].fallback = identity.AppendCompactValue(nil, *a.Default, limit)
		}
	}
	slices.SortFunc(made.attributes, func(a, b attribute) int { return cmp.Compare(a.key, b.key) })
	return made
}

// Extract counts the records of logs into a Batch that holds nothing of them. The caller owns the Batch and gives it
// back with Release. The only error is that of a condition, under StopOnError; then there is no Batch.
func (x *Extractor) Extract(ctx context.Context, logs plog.Logs) (*Batch, error) {
	b := x.batches.Get().(*Batch)
	for _, rl := range logs.ResourceLogs().All() {
		resource := b.addResource(rl.Resource().Attributes())
		for _, sl := range rl.ScopeLogs().All() {
			if err := x.scope(ctx, b, resource, rl, sl); err != nil {
				b.Release()
				return nil, err
			}
		}
	}
	return b, nil
}

// scope counts the records of one scope: by their number for a metric that takes them all alike, one by one for the
// others.
func (x *Extractor) scope(ctx context.Context, b *Batch, resource int, rl plog.ResourceLogs, sl plog.ScopeLogs) error {
	records := sl.LogRecords()
	oneByOne := false
	for i := range x.metrics {
		if m := &x.metrics[i]; len(m.conditions)+len(m.attributes) > 0 {
			oneByOne = true
		} else if n := records.Len(); n > 0 {
			b.add(i, b.identity(i, resource), int64(n))
		}
	}
	if !oneByOne {
		return nil
	}
	for i := range records.Len() {
		if err := x.record(ctx, b, resource, rl, sl, records.At(i)); err != nil {
			return err
		}
	}
	return nil
}

func (x *Extractor) record(
	ctx context.Context, b *Batch, resource int, rl plog.ResourceLogs, sl plog.ScopeLogs, record plog.LogRecord,
) error {
	c := conditionContext{rl: rl, sl: sl, record: record}
	defer c.close()
	for i := range x.metrics {
		m := &x.metrics[i]
		if len(m.conditions)+len(m.attributes) == 0 {
			continue // scope has counted it
		}
		met, err := c.anyMet(ctx, m.conditions)
		switch {
		case err != nil && x.settings.StopOnError:
			return fmt.Errorf("metric %q: %w", x.settings.Metrics[i].Name, err)
		case met:
			values, found := x.appendValues(b.identity(i, resource), m, rl, sl, record)
			b.scratch = values
			if found {
				b.add(i, values, 1)
			} else {
				b.notCounted[i].MissingAttribute++
			}
		case err != nil:
			b.notCounted[i].ConditionError++
			b.conditionError(i, err)
		default:
			b.notCounted[i].Condition++
		}
	}
	return nil
}

// appendValues appends the values of a metric's attributes in compact form, and says whether each has one.
func (x *Extractor) appendValues(
	dst []byte, m *metric, rl plog.ResourceLogs, sl plog.ScopeLogs, record plog.LogRecord,
) ([]byte, bool) {
	for i := range m.attributes {
		a := &m.attributes[i]
		value, found := record.Attributes().Get(a.key)
		if !found {
			value, found = sl.Scope().Attributes().Get(a.key)
		}
		if !found {
			value, found = rl.Resource().Attributes().Get(a.key)
		}
		switch {
		case found:
			dst = identity.AppendCompact(dst, value, x.settings.ValueLengthLimit)
		case a.fallback != nil:
			dst = append(dst, a.fallback...)
		default:
			return dst, false
		}
	}
	return dst, true
}

// resourceAttribute is an attribute of the resource at hand.
type resourceAttribute struct {
	name  string
	value pcommon.Value
}

// selectResource appends the attributes that tell resources apart, sorted by name and without a name twice.
func (x *Extractor) selectResource(dst []resourceAttribute, attributes pcommon.Map) []resourceAttribute {
	if x.settings.ResourceAttributes != nil {
		for _, name := range x.settings.ResourceAttributes {
			if value, found := attributes.Get(name); found {
				dst = append(dst, resourceAttribute{name, value})
			}
		}
		return dst
	}
	for name, value := range attributes.All() {
		dst = append(dst, resourceAttribute{identity.CleanName(name, x.settings.ValueLengthLimit), value})
	}
	slices.SortStableFunc(dst, func(a, b resourceAttribute) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(dst, func(a, b resourceAttribute) bool { return a.name == b.name })
}

// ErrConditionPanicked is the error of a condition that panicked on a record.
var ErrConditionPanicked = errors.New("condition panicked")
