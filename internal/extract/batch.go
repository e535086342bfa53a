// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"encoding/binary"
	"iter"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/aggregate"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// overflowMember is what marks an overflow key.
const overflowMember = `"` + serieskey.OverflowAttribute + `":true`

// NotCounted are the records of a batch that a metric does not count, by reason.
type NotCounted struct {
	Condition        int64 // no condition was met
	MissingAttribute int64 // an attribute that is neither optional nor has a default was absent
	ConditionError   int64 // a condition failed and none was met
	ValueError       int64 // the expression of an attribute failed, or there was no amount that can be added
	AmountFailed     bool  // some of the latter were because of the amount
}

// Batch is what the records of one plog.Logs add up to: a count for each series. It holds nothing of the logs.
//
// A Batch is not safe for concurrent use; it may be handed from one goroutine to another.
type Batch struct {
	extractor *Extractor

	resources *aggregate.Table // compact names and values of each distinct resource; the count is of no use
	// metric number and whether the key is too long, resource number, attributes in compact form
	counts *aggregate.Table

	lanes *lanes // the records at hand; nil when Extract is through

	counted    []int64 // by metric
	notCounted []NotCounted

	absences []int64 // how often each attribute of each metric had no value of its own
	failures []int64 // how often that was an error which kept the record from being counted

	resourceHas []bool // by Extractor.resourceNames: whether any resource has it

	errMetric int
	err       error // the first that kept a record from being counted

	scratch  []byte
	selected []resourceAttribute
	named    []namedValue
	values   []byte // of named

	// Text of the resources, made when the first key that needs it is: texts[i] = textArena[starts[i]:ends[i]].
	textArena    []byte
	starts, ends []int
	wasCut       []bool // whether a value of the resource was cut
	cutValues    int64
}

func newBatch(x *Extractor, resources, counts *aggregate.Table) *Batch {
	return &Batch{
		extractor:  x,
		resources:  resources,
		counts:     counts,
		counted:    make([]int64, len(x.metrics)),
		notCounted: make([]NotCounted, len(x.metrics)),
		absences:   make([]int64, x.attributes),
		failures:   make([]int64, x.attributes),

		resourceHas: make([]bool, len(x.resourceNames)),
	}
}

// Release gives the Batch back for another use. The caller must not touch it afterwards.
func (b *Batch) Release() {
	b.resources.Reset()
	b.counts.Reset()
	clear(b.counted)
	clear(b.notCounted)
	clear(b.absences)
	clear(b.failures)
	clear(b.resourceHas)
	b.err = nil
	b.textArena, b.starts, b.ends, b.wasCut, b.cutValues = b.textArena[:0], b.starts[:0], b.ends[:0], b.wasCut[:0], 0
	b.extractor.batches.Put(b)
}

// addResource returns the number of a resource in this batch.
func (b *Batch) addResource(attributes pcommon.Map) int {
	limit := b.extractor.settings.ValueLengthLimit
	b.selected = b.extractor.selectResource(b.selected[:0], attributes)
	b.scratch = b.scratch[:0]
	for _, a := range b.selected {
		b.scratch = serieskey.AppendCompactString(b.scratch, a.name, 0)
		b.scratch = serieskey.AppendCompact(b.scratch, a.value, limit)
	}
	b.noteResource()
	clear(b.selected[:cap(b.selected)]) // keeps nothing of the logs
	i, _ := b.resources.Add(b.scratch, aggregate.Sums{})
	return i
}

// noteResource notes which of the names of the configuration the resource at hand has. Both lists are sorted.
func (b *Batch) noteResource() {
	names, n := b.extractor.resourceNames, 0
	for i := range b.selected {
		for n < len(names) && names[n] < b.selected[i].name {
			n++
		}
		if n < len(names) && names[n] == b.selected[i].name {
			b.resourceHas[n] = true
		}
	}
}

// ResourceNames returns the names of the resource attributes to count by, without globs, sorted; the numbers of
// ResourceHas.
func (x *Extractor) ResourceNames() []string { return x.resourceNames }

// ResourceHas says whether any resource of the batch has an attribute of ResourceNames.
func (b *Batch) ResourceHas(i int) bool { return b.resourceHas[i] }

// identity returns the start of the identity of a series, in the scratch buffer: its attributes follow.
func (b *Batch) identity(metric, resource int) []byte {
	b.scratch = appendIdentity(b.scratch[:0], metric, resource, false)
	return b.scratch
}

func appendIdentity(dst []byte, metric, resource int, tooLong bool) []byte {
	m := uint64(metric) << 1
	if tooLong {
		m++
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, m), uint64(resource))
}

// tooLong returns the identity of all series of a metric and resource whose keys are too long and that have one
// overflow key.
func (b *Batch) tooLong(metric, resource int, m *metric, attributes []byte) []byte {
	id := appendIdentity(b.values[:0], metric, resource, true)
	for i := 0; len(attributes) > 0; i++ {
		var kept bool
		start := attributes
		if len(m.globs) > 0 {
			kept, attributes = attributes[0] == keepByte(true), attributes[1:]
			_, attributes = serieskey.SplitNext(attributes)
		} else {
			kept = m.attributes[i].keep
		}
		_, attributes = serieskey.SplitNext(attributes)
		switch {
		case kept:
			id = append(id, start[:len(start)-len(attributes)]...)
		case len(m.globs) == 0:
			id = serieskey.AppendAbsent(id)
		}
	}
	b.values = id
	return id
}

// keepByte says in an identity whether overflow keeps the attribute behind it.
func keepByte(keep bool) byte {
	if keep {
		return 'k'
	}
	return '-'
}

// add adds to a series, unless its amount would pass the largest int64.
func (b *Batch) add(metric int, id []byte, sums aggregate.Sums) bool {
	if _, ok := b.counts.Add(id, sums); !ok {
		return false
	}
	b.counted[metric] += sums.Records
	return true
}

func (b *Batch) note(metric int, err error) {
	if b.err == nil {
		b.errMetric, b.err = metric, err
	}
}

// Counted returns how many records each metric counts, by its number in Settings.Metrics. The slice is valid until
// Release.
func (b *Batch) Counted() []int64 { return b.counted }

// NotCounted returns how many records each metric does not count, by its number in Settings.Metrics. The slice is
// valid until Release.
func (b *Batch) NotCounted() []NotCounted { return b.notCounted }

// Error returns the first error of a condition or an expression that made a metric not count a record, with the number
// of that metric; nil if there was none.
func (b *Batch) Error() (metric int, err error) { return b.errMetric, b.err }

// Presence yields the attributes of a metric that were looked for in any record of the batch, by number, and whether
// some record had it.
func (b *Batch) Presence(metric int) iter.Seq2[int, bool] {
	return func(yield func(attribute int, present bool) bool) {
		m, n := &b.extractor.metrics[metric], &b.notCounted[metric]
		reached := b.counted[metric] + n.MissingAttribute + n.ValueError
		for i := range m.attributes {
			if reached == 0 {
				return
			}
			absent := b.absences[m.absences+i]
			if !yield(i, absent < reached) {
				return
			}
			if m.attributes[i].fallback == nil {
				reached -= absent
			}
		}
	}
}

// Uncounted returns the attributes of a metric, by their numbers in AttributeNames, that kept records from being
// counted: those that were missing, and those whose expressions failed.
func (b *Batch) Uncounted(metric int) (missing, failed []int) {
	m := &b.extractor.metrics[metric]
	for i := range m.attributes {
		failures := b.failures[m.absences+i]
		if m.attributes[i].fallback == nil && b.absences[m.absences+i] > failures {
			missing = append(missing, i)
		}
		if failures > 0 {
			failed = append(failed, i)
		}
	}
	return missing, failed
}

// AttributeNames returns the names of a metric's attributes without its globs, by their numbers in Presence.
func (x *Extractor) AttributeNames(metric int) []string {
	var names []string
	for _, a := range x.metrics[metric].attributes {
		names = append(names, a.key)
	}
	return names
}

// Len returns the number of series.
func (b *Batch) Len() int { return b.counts.Len() }

// Series is what the records of a batch add to one key.
type Series struct {
	Metric  int
	TooLong bool // its key is longer than Settings.KeyLengthLimit for sure: it has only an overflow key
	aggregate.Sums
}

// Series returns series i.
func (b *Batch) Series(i int) Series {
	id, sums := b.counts.Entry(i)
	m, _ := binary.Uvarint(id)
	return Series{Metric: int(m >> 1), TooLong: m&1 == 1, Sums: sums}
}

// Identity returns what series i of a metric has in common with a series of another batch that has the same key: the
// number of its resource in this batch, and its attributes in compact form, which are valid until Release. The resource
// is the same if its compact form is.
func (b *Batch) Identity(i int) (resource int, attributes []byte) {
	_, resource, attributes = b.split(i)
	return resource, attributes
}

// Resources returns the number of distinct resources.
func (b *Batch) Resources() int { return b.resources.Len() }

// Resource returns the compact form of a resource, which is valid until Release.
func (b *Batch) Resource(r int) []byte {
	compact, _ := b.resources.Entry(r)
	return compact
}

// ResourceWasCut says whether a value of a resource was cut. A key with that resource must have been rendered.
func (b *Batch) ResourceWasCut(r int) bool { return b.wasCut[r] }

// AppendKey appends the key of series i, which is not TooLong, as package identity defines it.
func (b *Batch) AppendKey(dst []byte, i int) []byte {
	return append(b.appendMembers(dst, i, false), '}', ']')
}

// AppendOverflowKey appends the key under which series i is counted when its own is over a limit: that of its metric
// and resource, with the overflow flag and the attributes that overflow keeps.
func (b *Batch) AppendOverflowKey(dst []byte, i int) []byte {
	return append(b.appendMembers(dst, i, true), '}', ']')
}

// appendMembers appends a key up to the last of its attributes: all of them, or those of the overflow key.
func (b *Batch) appendMembers(dst []byte, i int, overflow bool) []byte {
	m, resource, rest := b.split(i)
	limit := b.extractor.settings.ValueLengthLimit
	dst = append(b.appendKeyStart(dst, m, resource), '{')
	flagged := !overflow // the flag stands where the order of names has it
	empty := true
	separate := func() {
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
	}
	for n := 0; len(rest) > 0; n++ {
		var kept bool
		var name []byte
		if len(m.globs) > 0 {
			kept = rest[0] == keepByte(true)
			name, rest = serieskey.SplitNext(rest[1:])
		} else {
			kept = m.attributes[n].keep
		}
		if overflow && !kept || serieskey.NextIsAbsent(rest) {
			_, rest = serieskey.SplitNext(rest)
			continue
		}
		if !flagged && m.isBehindFlag(n, name) {
			flagged = true
			separate()
			dst = append(dst, overflowMember...)
		}
		separate()
		if name == nil {
			dst = append(dst, m.attributes[n].memberName...)
		} else {
			dst, _, _ = serieskey.AppendNextText(dst, name, 0)
			dst = append(dst, ':')
		}
		var wasCut bool
		dst, rest, wasCut = serieskey.AppendNextText(dst, rest, limit)
		if wasCut {
			b.cutValues++
		}
	}
	if !flagged {
		separate()
		dst = append(dst, overflowMember...)
	}
	return dst
}

// isBehindFlag says whether attribute n, or the one of that compact name, comes after the flag of an overflow key.
func (m *metric) isBehindFlag(n int, name []byte) bool {
	if name == nil {
		return m.attributes[n].key > serieskey.OverflowAttribute
	}
	return string(serieskey.CompactText(name)) > serieskey.OverflowAttribute
}

// LastKey returns the overflow key of a metric without a resource.
func (x *Extractor) LastKey(metric int) string {
	return string(x.metrics[metric].keyStart) + `{},{` + overflowMember + `}]`
}

// CutValues returns how many values were cut, each once for every key or resource rendered so far.
func (b *Batch) CutValues() int64 { return b.cutValues }

func (b *Batch) split(i int) (m *metric, resource int, attributes []byte) {
	id, _ := b.counts.Entry(i)
	number, n := binary.Uvarint(id)
	r, k := binary.Uvarint(id[n:])
	return &b.extractor.metrics[number>>1], int(r), id[n+k:]
}

func (b *Batch) appendKeyStart(dst []byte, m *metric, resource int) []byte {
	for len(b.starts) < b.resources.Len() {
		b.renderResource(len(b.starts))
	}
	dst = append(dst, m.keyStart...)
	dst = append(dst, b.textArena[b.starts[resource]:b.ends[resource]]...)
	return append(dst, ',')
}

func (b *Batch) renderResource(r int) {
	compact, _ := b.resources.Entry(r)
	cutBefore := b.cutValues
	b.starts = append(b.starts, len(b.textArena))
	text := append(b.textArena, '{')
	for first := true; len(compact) > 0; first = false {
		if !first {
			text = append(text, ',')
		}
		text, compact, _ = serieskey.AppendNextText(text, compact, 0)
		text = append(text, ':')
		var wasCut bool
		text, compact, wasCut = serieskey.AppendNextText(text, compact, b.extractor.settings.ValueLengthLimit)
		if wasCut {
			b.cutValues++
		}
	}
	b.textArena = append(text, '}')
	b.ends = append(b.ends, len(b.textArena))
	b.wasCut = append(b.wasCut, b.cutValues > cutBefore)
}
