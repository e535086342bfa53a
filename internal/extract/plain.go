package extract

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/fold"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// This file is the fast way through Extract, for metrics that count records by attributes that are only looked up. It does
// less for each record and the rest for each distinct row of values: a record's values are looked up once, however many
// metrics ask for them, and summed as they are; an identity is made of a row when the batch is through. The way of count
// makes an identity of each record; a property test holds the two against each other.

// maxLookups is how many attributes the fast way can look up: there is a bit for each.
const maxLookups = 64

// planLookups gives each attribute that is looked up a number, and marks the metrics that can go the fast way.
func (x *Extractor) planLookups() {
	numbers := map[string]int{}
	for i := range x.metrics {
		m := &x.metrics[i]
		if !m.isPlain() {
			continue
		}
		for n := range m.attributes {
			a := &m.attributes[n]
			number, known := numbers[a.key]
			if !known {
				number = len(x.lookups)
				numbers[a.key] = number
				x.lookups = append(x.lookups, a.key)
			}
			a.lookup = number
		}
	}
	for i := range x.metrics {
		x.metrics[i].plain = x.metrics[i].isPlain() && len(x.lookups) <= maxLookups
	}
}

// isPlain says whether the records of a metric differ by nothing but attributes that are looked up.
func (m *metric) isPlain() bool {
	if len(m.globs) > 0 || m.amount.Expression != nil {
		return false
	}
	for i := range m.attributes {
		if m.attributes[i].expression != nil {
			return false
		}
	}
	return true
}

// lookups are the values of the attributes that are looked up, each found when first it is asked for.
type lookups struct {
	keys  []string
	limit int // of the length of a string, as in a key

	values []fold.Value // of the record
	known  uint64       // which of values are found, a bit for each

	outer      []fold.Value // of scope and resource
	outerKnown uint64
}

func newLookups(x *Extractor) lookups {
	n := len(x.lookups)
	return lookups{
		keys: x.lookups, limit: x.settings.ValueLengthLimit,
		values: make([]fold.Value, n), outer: make([]fold.Value, n),
	}
}

// value returns the value of attribute number n in the record, else in its scope, else in its resource.
func (l *lookups) value(n int, r *recordContext) *fold.Value {
	v := &l.values[n]
	if l.known&(1<<n) != 0 {
		return v
	}
	l.known |= 1 << n
	if found, ok := r.record.Attributes().Get(l.keys[n]); ok {
		l.read(v, found)
		return v
	}
	if l.outerKnown&(1<<n) == 0 {
		l.outerKnown |= 1 << n
		l.readOuter(n, r)
	}
	*v = l.outer[n]
	return v
}

func (l *lookups) readOuter(n int, r *recordContext) {
	found, ok := r.sl.Scope().Attributes().Get(l.keys[n])
	if !ok {
		found, ok = r.rl.Resource().Attributes().Get(l.keys[n])
	}
	if !ok {
		l.outer[n] = fold.Value{}
		return
	}
	l.read(&l.outer[n], found)
}

// read sets dst to what a key may have of v. Of a string that is too long that is one byte more than fits, by which one
// can tell that it was cut, and where.
func (l *lookups) read(dst *fold.Value, v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		l.setText(dst, v.Str())
	case pcommon.ValueTypeInt:
		*dst = fold.Value{Kind: fold.Int, Bits: uint64(v.Int())}
	case pcommon.ValueTypeBool:
		*dst = fold.Value{Kind: fold.Bool}
		if v.Bool() {
			dst.Bits = 1
		}
	case pcommon.ValueTypeDouble:
		*dst = fold.Value{Kind: fold.Double, Bits: math.Float64bits(v.Double())}
	default:
		l.setText(dst, v.AsString())
	}
}

func (l *lookups) setText(dst *fold.Value, text string) {
	if l.limit > 0 && len(text) > l.limit {
		text = text[:l.limit+1]
	}
	dst.Kind, dst.Bits, dst.Text = fold.String, 0, text
}

// nextScope forgets what was found in a scope and its resource.
func (l *lookups) nextScope() { l.outerKnown = 0 }

// nextRecord forgets what was found in a record.
func (l *lookups) nextRecord() { l.known = 0 }

// reset keeps nothing of the logs.
func (l *lookups) reset() {
	clear(l.values)
	clear(l.outer)
	l.known, l.outerKnown = 0, 0
}

// countPlain adds a record that meets the conditions of metric i, which is plain, to its row, or enters why not.
func (x *Extractor) countPlain(b *Batch, i, resource int, r *recordContext) {
	m := &x.metrics[i]
	row := b.row[:len(m.attributes)]
	for n := range m.attributes {
		a := &m.attributes[n]
		v := b.lookups.value(a.lookup, r)
		if v.Kind == fold.Absent {
			b.absences[m.absences+n]++
			if a.fallback == nil {
				b.notCounted[i].MissingAttribute++
				return
			}
		}
		row[n] = *v
	}
	amount := int64(1)
	if m.amount.Bytes {
		amount = int64((&plog.ProtoMarshaler{}).LogRecordSize(r.record))
	}
	b.rows.Add(uint64(i)<<32|uint64(resource), row, fold.Sums{Records: 1, Amount: amount})
}

// foldRows makes series of the rows of a batch.
func (b *Batch) foldRows() {
	x := b.extractor
	for n := range b.rows.Len() {
		group, row, sums := b.rows.Row(n)
		i, resource := int(group>>32), int(group&math.MaxUint32)
		m := &x.metrics[i]
		start := b.identity(i, resource)
		id := start
		for k := range row {
			id = m.attributes[k].appendCompact(id, &row[k], x.settings.ValueLengthLimit)
		}
		b.scratch = id[:0]
		if !x.enter(b, i, resource, id, len(start), sums) {
			b.notCounted[i].ValueError += sums.Records
			b.note(i, errTooLarge)
		}
	}
	b.rows.Reset()
	b.lookups.reset()
}

// appendCompact appends a value in the form that identities have.
func (a *attribute) appendCompact(dst []byte, v *fold.Value, limit int) []byte {
	switch v.Kind {
	case fold.String:
		return identity.AppendCompactString(dst, v.Text, limit)
	case fold.Int:
		return identity.AppendCompactValue(dst, identity.IntValue(int64(v.Bits)), limit)
	case fold.Double:
		return identity.AppendCompactValue(dst, identity.DoubleValue(math.Float64frombits(v.Bits)), limit)
	case fold.Bool:
		return identity.AppendCompactValue(dst, identity.BoolValue(v.Bits != 0), limit)
	case fold.Absent:
	}
	return append(dst, a.fallback...)
}
