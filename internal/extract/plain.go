// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"context"
	"math"
	"math/bits"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/aggregate"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// This file is the fast way through Extract, for metrics that count records by attributes that are only looked up.
// Records come in groups of 64, each a lane, so that a set of them is the bits of a word. A column has what one
// attribute is in each lane, looked up once however many metrics ask for it. The rows of values are summed as they are,
// and an identity is made of each when the batch is through. The way of Extractor.count makes an identity of each
// record instead; a property test holds the two against each other.

// planColumns gives each attribute that plain metrics look up a column.
func (x *Extractor) planColumns() {
	numbers := map[string]int{}
	for i := range x.metrics {
		m := &x.metrics[i]
		m.plain = m.isPlain()
		for n := range m.attributes {
			a := &m.attributes[n]
			if !m.plain {
				continue
			}
			number, known := numbers[a.key]
			if !known {
				number = len(x.columns)
				numbers[a.key] = number
				x.columns = append(x.columns, a.key)
			}
			a.column = number
		}
	}
}

// isPlain says whether the records of a metric differ by nothing but attributes that are looked up.
func (m *metric) isPlain() bool {
	if len(m.globs) > 0 || m.amount.Expression != nil {
		return false
	}
	for i := range m.attributes {
		if m.attributes[i].expression != nil || m.attributes[i].hash {
			return false
		}
	}
	return true
}

// lanes are up to 64 records of a scope.
type lanes struct {
	all     uint64 // a bit for each that is in use
	used    int    // how many were in use since reset
	records [aggregate.Lanes]recordContext

	resourceTooDeep, scopeTooDeep bool // for OTTL; false where no metric needs it

	hasher  *hasher
	limit   int // of the length of a string, as in a key
	rows    *aggregate.Rows
	columns []column
	chosen  []*aggregate.Column // scratch
	amounts [aggregate.Lanes]int64
}

// column is one attribute of the records.
type column struct {
	key string
	aggregate.Column
	known   uint64 // the lanes that were looked up
	present uint64 // those that have a value

	// outer is what scope and resource have, in lane 0.
	outer        aggregate.Column
	outerKnown   bool
	outerPresent bool
}

func newLanes(x *Extractor) *lanes {
	l := &lanes{limit: x.settings.ValueLengthLimit, rows: aggregate.NewRows(), columns: make([]column, len(x.columns)), hasher: newHasher(x.settings.HashKey)}
	for i, key := range x.columns {
		l.columns[i].key = key
	}
	return l
}

// enterResource makes the lanes ready for the scopes of a resource.
func (l *lanes) enterResource(x *Extractor, rl plog.ResourceLogs) {
	l.resourceTooDeep = x.usesOTTL && anyTooDeep(rl.Resource().Attributes())
}

// enterScope makes the lanes ready for the records of a scope.
func (l *lanes) enterScope(x *Extractor, rl plog.ResourceLogs, sl plog.ScopeLogs) {
	l.scopeTooDeep = x.usesOTTL && anyTooDeep(sl.Scope().Attributes())
	for i := range min(sl.LogRecords().Len(), aggregate.Lanes) {
		l.records[i].rl, l.records[i].sl = rl, sl
	}
	for i := range l.columns {
		l.columns[i].outerKnown = false
	}
}

// fill puts records into the lanes, from one on.
func (l *lanes) fill(records plog.LogRecordSlice, from int) {
	n := min(records.Len()-from, aggregate.Lanes)
	l.all = ^uint64(0) >> (aggregate.Lanes - n)
	l.used = max(l.used, n)
	tooDeep := l.resourceTooDeep || l.scopeTooDeep
	for i := range n {
		l.records[i].record, l.records[i].tooDeep = records.At(from+i), tooDeep
	}
	for i := range l.columns {
		l.columns[i].known, l.columns[i].present = 0, 0
	}
}

// closeContexts gives the OTTL contexts of the lanes back.
func (l *lanes) closeContexts() {
	for left := l.all; left != 0; left &= left - 1 {
		l.records[bits.TrailingZeros64(left)].close()
	}
}

// reset keeps nothing of the logs.
func (l *lanes) reset() {
	l.rows.Reset()
	for i := range l.columns {
		c := &l.columns[i]
		clear(c.Values[:l.used])
		c.outer.Values[0] = aggregate.Value{}
	}
	clear(l.records[:l.used])
	l.used = 0
}

// met returns the lanes that meet any of the conditions of metric i, and enters why the others do not.
func (l *lanes) met(ctx context.Context, x *Extractor, b *Batch, i int) (met uint64, err error) {
	m := &x.metrics[i]
	if len(m.conditions) == 0 {
		return l.all, nil
	}
	if len(m.conditions) == 1 && m.conditions[0].plain != nil {
		met = l.compare(m.conditions[0].plain)
		b.notCounted[i].Condition += int64(bits.OnesCount64(l.all &^ met))
		return met, nil
	}
	for left := l.all; left != 0; left &= left - 1 {
		lane := bits.TrailingZeros64(left)
		yes, err := l.records[lane].anyMet(ctx, m.conditions)
		switch {
		case yes:
			met |= 1 << lane
		case err != nil:
			b.notCounted[i].ConditionError++
			b.note(i, err)
			if x.settings.StopOnError {
				return 0, err
			}
		default:
			b.notCounted[i].Condition++
		}
	}
	return met, nil
}

func (l *lanes) compare(c *comparison) (met uint64) {
	if c.subject == severityNumber {
		for left := l.all; left != 0; left &= left - 1 {
			lane := bits.TrailingZeros64(left)
			if c.meetsNumber(int64(l.records[lane].record.SeverityNumber())) {
				met |= 1 << lane
			}
		}
		return met
	}
	for left := l.all; left != 0; left &= left - 1 {
		lane := bits.TrailingZeros64(left)
		if r := &l.records[lane]; c.met(r.rl.Resource(), r.record) {
			met |= 1 << lane
		}
	}
	return met
}

// lookUp looks an attribute up in lanes where that was not done yet: in the record, else in its scope, else in its
// resource.
func (l *lanes) lookUp(c *column, selected uint64) {
	wanted := selected &^ c.known
	c.known |= wanted
	for left := wanted; left != 0; left &= left - 1 {
		lane := bits.TrailingZeros64(left)
		if v, found := l.records[lane].record.Attributes().Get(c.key); found {
			c.present |= 1 << lane
			l.read(&c.Column, lane, v)
		}
	}
	absent := wanted &^ c.present
	if absent == 0 {
		return
	}
	l.lookUpOuter(c)
	for left := absent; left != 0; left &= left - 1 {
		lane := bits.TrailingZeros64(left)
		c.Copy(lane, &c.outer, 0)
		if c.outerPresent {
			c.present |= 1 << lane
		}
	}
}

func (l *lanes) lookUpOuter(c *column) {
	if c.outerKnown {
		return
	}
	c.outerKnown = true
	r := &l.records[0]
	v, found := r.sl.Scope().Attributes().Get(c.key)
	if !found {
		v, found = r.rl.Resource().Attributes().Get(c.key)
	}
	if c.outerPresent = found; found {
		l.read(&c.outer, 0, v)
	} else {
		l.rows.Set(&c.outer, 0, aggregate.Absent, 0)
	}
}

// read sets a lane of a column to what a key has of v: two values are the same here if they are in a key.
func (l *lanes) read(c *aggregate.Column, lane int, v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		l.readText(c, lane, v.Str())
	case pcommon.ValueTypeInt:
		l.rows.Set(c, lane, aggregate.Int, uint64(v.Int()))
	case pcommon.ValueTypeBool:
		truth := uint64(0)
		if v.Bool() {
			truth = 1
		}
		l.rows.Set(c, lane, aggregate.Bool, truth)
	case pcommon.ValueTypeDouble:
		double := serieskey.DoubleValue(v.Double())
		if double.Kind() != serieskey.Double { // NaN, for example
			l.readText(c, lane, double.AsString())
			return
		}
		l.rows.Set(c, lane, aggregate.Double, math.Float64bits(double.Double()))
	default:
		text, wasCut := serieskey.Text(v, l.limit)
		l.rows.SetText(c, lane, text, wasCut)
	}
}

func (l *lanes) readText(c *aggregate.Column, lane int, text string) {
	text, wasCut := serieskey.Cut(text, l.limit)
	l.rows.SetText(c, lane, text, wasCut)
}

// countPlain adds the records of the selected lanes, which meet the conditions of metric i, to their rows, or enters
// why not.
func (x *Extractor) countPlain(b *Batch, i, resource int, selected uint64) {
	m, l := &x.metrics[i], b.lanes
	l.chosen = l.chosen[:0]
	for n := range m.attributes {
		a := &m.attributes[n]
		c := &l.columns[a.column]
		l.lookUp(c, selected)
		l.chosen = append(l.chosen, &c.Column)
		if absent := selected &^ c.present; absent != 0 {
			count := int64(bits.OnesCount64(absent))
			b.absences[m.absences+n] += count
			if a.fallback == nil {
				b.notCounted[i].MissingAttribute += count
				selected &^= absent
			}
		}
	}
	group := uint64(i)<<32 | uint64(resource)
	if !m.amount.Bytes {
		l.rows.Add(group, l.chosen, selected, nil)
		return
	}
	for left := selected; left != 0; left &= left - 1 {
		lane := bits.TrailingZeros64(left)
		l.amounts[lane] = int64((&plog.ProtoMarshaler{}).LogRecordSize(l.records[lane].record))
	}
	l.rows.Add(group, l.chosen, selected, &l.amounts)
}

// foldRows makes series of the rows of a batch.
func (b *Batch) foldRows() {
	x, rows := b.extractor, b.lanes.rows
	for n := range rows.Len() {
		group, sums := rows.Row(n)
		i, resource := int(group>>32), int(group&math.MaxUint32)
		m := &x.metrics[i]
		id := b.identity(i, resource)
		start := len(id)
		values := rows.RowValues(n, len(m.attributes))
		for k := range values {
			id = m.attributes[k].appendCompact(id, &values[k])
		}
		b.scratch = id[:0]
		switch {
		case m.unambiguous && !x.isTooLong(m, len(id)-start):
			b.counts.Append(id, sums)
			b.counted[i] += sums.Records
		case !x.enter(b, i, resource, id, start, sums):
			b.notCounted[i].ValueError += sums.Records
			b.notCounted[i].AmountFailed = true
			b.note(i, errTooLarge)
		}
	}
}

// releaseLanes gives the lanes back for another call of Extract.
func (b *Batch) releaseLanes() {
	b.lanes.reset()
	b.extractor.lanes.Put(b.lanes)
	b.lanes = nil
}

// appendCompact appends a value in the form that identities have.
func (a *attribute) appendCompact(dst []byte, v *aggregate.Value) []byte {
	switch v.Kind {
	case aggregate.String:
		return serieskey.AppendCompactCut(dst, v.Text, v.Bits == 1)
	case aggregate.Int:
		return serieskey.AppendCompactValue(dst, serieskey.IntValue(int64(v.Bits)), 0)
	case aggregate.Double:
		return serieskey.AppendCompactValue(dst, serieskey.DoubleValue(math.Float64frombits(v.Bits)), 0)
	case aggregate.Bool:
		return serieskey.AppendCompactValue(dst, serieskey.BoolValue(v.Bits != 0), 0)
	case aggregate.Absent:
	}
	return append(dst, a.fallback...)
}
