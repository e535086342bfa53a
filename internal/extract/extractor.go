// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package extract turns log records into counts by series, folded for a whole batch. It reads the records and
// touches nothing shared, so it runs on the caller's goroutine.
package extract

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/aggregate"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// Settings say what an Extractor counts.
type Settings struct {
	Metrics []Metric

	// ResourceAttributes are the names of the resource attributes that tell series apart, and globs for such names; nil
	// = all of them.
	ResourceAttributes []string

	// ValueLengthLimit is the longest string value in bytes; a longer one is cut. 0 = no limit.
	ValueLengthLimit int

	// KeyLengthLimit is the longest key in bytes. Of a series whose key is certainly longer a Batch keeps only what its
	// overflow key needs, so that no record takes more than a few times as much memory. 0 = no limit.
	KeyLengthLimit int

	// HashKey is the key of the hashes of attributes with Hash; nil when there are none.
	HashKey []byte

	// StopOnError makes Extract return the first error of a condition or an expression instead of not counting the
	// record.
	StopOnError bool
}

// Metric is one count.
type Metric struct {
	Name       string
	Conditions []Condition // a record that meets any of them is counted; none = all records
	Attributes []Attribute
	Amount     Amount
}

// Amount is what a record adds to its series. The zero value is 1.
type Amount struct {
	Bytes      bool       // the size of the record in OTLP's protobuf encoding
	Expression Expression // what it yields
}

func (a Amount) isOne() bool { return !a.Bytes && a.Expression == nil }

// Attribute is one dimension of a Metric: the value of Key in the record, else in its scope, else in its resource; with
// an Expression, what that yields. If there is no value it is Default, or the series is one without this attribute if
// it is Optional; else the record is not counted. An expression that fails yields no value.
//
// If Key is a Glob, each attribute of the record whose name matches it is a dimension of its own. It has no Expression,
// no Default and is always Optional.
type Attribute struct {
	Key            string
	Glob           bool
	Expression     Expression
	Default        *serieskey.Value
	Optional       bool
	KeepOnOverflow bool // it is part of the overflow key
	Hash           bool // the HMAC-SHA256 of a value's text stands for it, but not for Default's
}

// Extractor counts the records of batches. It is immutable and safe for concurrent use.
type Extractor struct {
	settings Settings
	metrics  []metric

	resourceNames []string // of the settings, sorted; nil = all
	resourceGlobs []*glob

	attributes int      // of all metrics, without globs
	columns    []string // the attributes that plain metrics look up
	oneByOne   bool     // some metric has to look at each record
	usesOTTL   bool     // some metric needs OTTL

	batches sync.Pool // of *Batch
	lanes   sync.Pool // of *lanes, each of one call of Extract: a batch may wait for long, and has no use for them
}

// metric is a Metric made ready for the loop over the records, and for rendering keys.
type metric struct {
	conditions []Condition
	attributes []attribute // sorted by key, without the globs
	globs      []attribute
	amount     Amount

	byLength bool // records count all alike, so that their number is enough
	plain    bool // records go the fast way

	unambiguous bool // two rows of values are never one series: no attribute has a default, that may also be a value

	keyStart []byte // the text of a key up to its resource: `["name",`
	absences int    // where the numbers of its attributes begin in Batch.absences
}

// usesOTTL says whether OTTL has to look at records.
func (m *metric) usesOTTL() bool {
	return m.amount.Expression != nil ||
		slices.ContainsFunc(m.conditions, func(c Condition) bool { return c.plain == nil }) ||
		slices.ContainsFunc(m.attributes, func(a attribute) bool { return a.expression != nil })
}

type attribute struct {
	key        string
	glob       *glob
	expression Expression
	fallback   []byte // what stands in an identity when there is no value; nil = the record is not counted
	keep       bool
	hash       bool
	column     int    // its number in Extractor.columns, if its metric is plain
	memberName []byte // `"key":` as it stands in the text of a key
}

// New returns an Extractor. It keeps no part of the settings that the caller may change.
func New(settings Settings) *Extractor {
	x := &Extractor{settings: settings, metrics: make([]metric, len(settings.Metrics))}
	x.planResource()
	for i, m := range settings.Metrics {
		x.metrics[i] = newMetric(m, settings.ValueLengthLimit)
		x.metrics[i].absences = x.attributes
		x.attributes += len(x.metrics[i].attributes)
		x.oneByOne = x.oneByOne || !x.metrics[i].byLength
		x.usesOTTL = x.usesOTTL || x.metrics[i].usesOTTL()
	}
	x.planColumns()
	x.batches.New = func() any { return newBatch(x, aggregate.NewTable(), aggregate.NewTable()) }
	x.lanes.New = func() any { return newLanes(x) }
	return x
}

// planResource sorts the names of resource attributes, apart from the globs.
func (x *Extractor) planResource() {
	if x.settings.ResourceAttributes == nil {
		return
	}
	x.resourceNames = []string{} // none, which is not the same as all
	for _, name := range x.settings.ResourceAttributes {
		if IsGlob(name) {
			x.resourceGlobs = append(x.resourceGlobs, newGlob(name))
		} else {
			x.resourceNames = append(x.resourceNames, name)
		}
	}
	slices.Sort(x.resourceNames)
}

// hashesFirst orders globs, of which the first that matches a name decides: what any of them is to hash must not be
// there as it is.
func hashesFirst(a, b attribute) int {
	switch {
	case a.hash == b.hash:
		return 0
	case a.hash:
		return -1
	}
	return 1
}

func newMetric(m Metric, limit int) metric {
	made := metric{
		conditions: m.Conditions,
		amount:     m.Amount,
		keyStart:   append(serieskey.AppendMetric(nil, m.Name), ','),
	}
	for _, a := range m.Attributes {
		if a.Glob {
			made.globs = append(made.globs, attribute{glob: newGlob(a.Key), keep: a.KeepOnOverflow, hash: a.Hash})
			continue
		}
		n := attribute{
			key: a.Key, expression: a.Expression, keep: a.KeepOnOverflow, hash: a.Hash,
			memberName: append(serieskey.AppendString(nil, a.Key), ':'),
		}
		switch {
		case a.Default != nil:
			n.fallback = serieskey.AppendCompactValue(nil, *a.Default, limit)
		case a.Optional:
			n.fallback = serieskey.AppendAbsent(nil)
		}
		made.attributes = append(made.attributes, n)
	}
	slices.SortStableFunc(made.globs, hashesFirst)
	made.unambiguous = !slices.ContainsFunc(m.Attributes, func(a Attribute) bool { return a.Default != nil })
	slices.SortFunc(made.attributes, func(a, b attribute) int { return cmp.Compare(a.key, b.key) })
	made.byLength = len(m.Conditions)+len(m.Attributes) == 0 && m.Amount.isOne()
	return made
}

// Extract counts the records of logs into a Batch that holds nothing of them. The caller owns the Batch and gives it
// back with Release. The only error is that of a condition or an expression, under StopOnError; then there is no Batch.
func (x *Extractor) Extract(ctx context.Context, logs plog.Logs) (*Batch, error) {
	b := x.batches.Get().(*Batch)
	b.lanes = x.lanes.Get().(*lanes)
	err := x.extract(ctx, b, logs)
	b.releaseLanes()
	if err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}

func (x *Extractor) extract(ctx context.Context, b *Batch, logs plog.Logs) error {
	for _, rl := range logs.ResourceLogs().All() {
		resource := b.addResource(rl.Resource().Attributes())
		b.lanes.enterResource(x, rl)
		for _, sl := range rl.ScopeLogs().All() {
			x.byLength(b, resource, sl)
			if !x.oneByOne {
				continue
			}
			if err := x.records(ctx, b, resource, rl, sl); err != nil {
				return err
			}
		}
	}
	b.foldRows()
	return nil
}

// byLength counts the records of a scope for the metrics that take them all alike.
func (x *Extractor) byLength(b *Batch, resource int, sl plog.ScopeLogs) {
	n := int64(sl.LogRecords().Len())
	for i := range x.metrics {
		if x.metrics[i].byLength && n > 0 {
			b.add(i, b.identity(i, resource), aggregate.Sums{Records: n, Amount: n})
		}
	}
}

// records counts the records of a scope for all other metrics, 64 at a time.
func (x *Extractor) records(ctx context.Context, b *Batch, resource int, rl plog.ResourceLogs, sl plog.ScopeLogs) error {
	records := sl.LogRecords()
	b.lanes.enterScope(x, rl, sl)
	for from := 0; from < records.Len(); from += aggregate.Lanes {
		b.lanes.fill(records, from)
		err := x.countLanes(ctx, b, resource)
		if x.usesOTTL {
			b.lanes.closeContexts()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *Extractor) countLanes(ctx context.Context, b *Batch, resource int) error {
	for i := range x.metrics {
		m := &x.metrics[i]
		if m.byLength {
			continue
		}
		met, err := b.lanes.met(ctx, x, b, i)
		if m.plain {
			x.countPlain(b, i, resource, met)
			met = 0
		}
		for ; met != 0 && err == nil; met &= met - 1 {
			err = x.count(ctx, b, i, resource, &b.lanes.records[bits.TrailingZeros64(met)])
			if !x.settings.StopOnError {
				err = nil // it is entered
			}
		}
		if err != nil {
			return fmt.Errorf("metric %q: %w", x.settings.Metrics[i].Name, err)
		}
	}
	return nil
}

// count adds a record that meets the conditions of metric i to its series, or enters why not; the error is that of an
// expression.
func (x *Extractor) count(ctx context.Context, b *Batch, i, resource int, r *recordContext) error {
	m := &x.metrics[i]
	start := b.identity(i, resource)
	id, found, err := x.appendValues(ctx, b, start, m, r)
	b.scratch = id[:0]
	amount := int64(1)
	if found && err == nil {
		amount, err = m.amountOf(ctx, r)
		b.notCounted[i].AmountFailed = b.notCounted[i].AmountFailed || err != nil
	}
	switch {
	case err != nil:
		b.notCounted[i].ValueError++
		b.note(i, err)
		return err
	case !found:
		b.notCounted[i].MissingAttribute++
		return nil
	}
	if !x.enter(b, i, resource, id, len(start), aggregate.Sums{Records: 1, Amount: amount}) {
		b.notCounted[i].ValueError++
		b.notCounted[i].AmountFailed = true
		b.note(i, errTooLarge)
		if x.settings.StopOnError {
			return errTooLarge
		}
	}
	return nil
}

// enter adds to the series of an identity, whose attributes begin at start, or to that of all whose keys are too long.
func (x *Extractor) enter(b *Batch, i, resource int, id []byte, start int, sums aggregate.Sums) bool {
	m := &x.metrics[i]
	if x.isTooLong(m, len(id)-start) {
		id = b.tooLong(i, resource, m, id[start:])
	}
	return b.add(i, id, sums)
}

// isTooLong says whether a key is certainly too long whose attributes take so many bytes in compact form.
func (x *Extractor) isTooLong(m *metric, bytes int) bool {
	limit := x.settings.KeyLengthLimit
	return limit > 0 && bytes > compactBound*limit+len(m.attributes)
}

// compactBound is how many times longer than its text the compact form of a key's attributes may be, but for a byte for
// each that is absent: a number takes 9 bytes and its name up to 4, and as text no fewer than 6 together.
const compactBound = 3

// amountOf returns what a record adds.
func (m *metric) amountOf(ctx context.Context, r *recordContext) (int64, error) {
	switch {
	case m.amount.Bytes:
		return int64((&plog.ProtoMarshaler{}).LogRecordSize(r.record)), nil
	case m.amount.Expression != nil:
		result, err := r.value(ctx, m.amount.Expression)
		if err != nil {
			return 0, err
		}
		return amountOf(result)
	}
	return 1, nil
}
