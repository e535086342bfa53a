package extract

import (
	"encoding/binary"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/fold"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// OverflowAttribute marks the keys under which increments beyond the cardinality limit are counted. The name is that
// of the OpenTelemetry metrics SDK specification (section "Overflow attribute").
const OverflowAttribute = "otel.metric.overflow"

// overflowMember is the attributes part of every overflow key.
var overflowMember = []byte(`{"` + OverflowAttribute + `":true}]`)

// NotCounted are the records of a batch that a metric does not count, by reason.
type NotCounted struct {
	Condition        int64 // no condition was met
	MissingAttribute int64 // an attribute without a default was absent
	ConditionError   int64 // a condition failed and none was met
}

// Batch is what the records of one plog.Logs add up to: a count for each series. It holds nothing of the logs.
//
// A Batch is not safe for concurrent use; it may be handed from one goroutine to another.
type Batch struct {
	extractor *Extractor

	resources *fold.Table // compact names and values of each distinct resource; the count is of no use
	counts    *fold.Table // metric number, resource number, compact values of the attributes

	counted    []int64 // by metric
	notCounted []NotCounted

	errMetric int
	err       error // the first of a condition that did not count a record

	scratch  []byte
	selected []resourceAttribute

	// Text of the resources, made when the first key that needs it is: texts[i] = textArena[starts[i]:ends[i]].
	textArena    []byte
	starts, ends []int
	cutValues    int64
}

func newBatch(x *Extractor, resources, counts *fold.Table) *Batch {
	return &Batch{
		extractor:  x,
		resources:  resources,
		counts:     counts,
		counted:    make([]int64, len(x.metrics)),
		notCounted: make([]NotCounted, len(x.metrics)),
	}
}

// Release gives the Batch back for another use. The caller must not touch it afterwards.
func (b *Batch) Release() {
	b.resources.Reset()
	b.counts.Reset()
	clear(b.counted)
	clear(b.notCounted)
	b.err = nil
	b.textArena, b.starts, b.ends, b.cutValues = b.textArena[:0], b.starts[:0], b.ends[:0], 0
	b.extractor.batches.Put(b)
}

// addResource returns the number of a resource in this batch.
func (b *Batch) addResource(attributes pcommon.Map) int {
	limit := b.extractor.settings.ValueLengthLimit
	b.selected = b.extractor.selectResource(b.selected[:0], attributes)
	b.scratch = b.scratch[:0]
	for _, a := range b.selected {
		b.scratch = identity.AppendCompactString(b.scratch, a.name, 0)
		b.scratch = identity.AppendCompact(b.scratch, a.value, limit)
	}
	clear(b.selected[:cap(b.selected)]) // keeps nothing of the logs
	return b.resources.Add(b.scratch, 1)
}

// identity returns the start of the identity of a series, in the scratch buffer: the attributes' values follow.
func (b *Batch) identity(metric, resource int) []byte {
	id := binary.AppendUvarint(b.scratch[:0], uint64(metric))
	return binary.AppendUvarint(id, uint64(resource))
}

func (b *Batch) add(metric int, identity []byte, n int64) {
	b.scratch = identity
	b.counts.Add(identity, n)
	b.counted[metric] += n
}

func (b *Batch) conditionError(metric int, err error) {
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

// ConditionError returns the first error of a condition that made a metric not count a record, with the number of
// that metric; nil if there was none.
func (b *Batch) ConditionError() (metric int, err error) { return b.errMetric, b.err }

// Len returns the number of series.
func (b *Batch) Len() int { return b.counts.Len() }

// Series returns the metric and the count of series i.
func (b *Batch) Series(i int) (metric int, count int64) {
	id, count := b.counts.Entry(i)
	m, _ := binary.Uvarint(id)
	return int(m), count
}

// AppendKey appends the key of series i, as package identity defines it.
func (b *Batch) AppendKey(dst []byte, i int) []byte {
	m, resource, values := b.split(i)
	limit := b.extractor.settings.ValueLengthLimit
	dst = b.appendKeyStart(dst, m, resource)
	dst = append(dst, '{')
	for n := range m.attributes {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.attributes[n].memberName...)
		var wasCut bool
		dst, values, wasCut = identity.AppendNextText(dst, values, limit)
		if wasCut {
			b.cutValues++
		}
	}
	return append(dst, '}', ']')
}

// AppendOverflowKey appends the key under which series i is counted when its own is over a limit: that of its metric
// and resource, with the overflow flag.
func (b *Batch) AppendOverflowKey(dst []byte, i int) []byte {
	m, resource, _ := b.split(i)
	return append(b.appendKeyStart(dst, m, resource), overflowMember...)
}

// LastKey returns the overflow key of a metric without a resource.
func (x *Extractor) LastKey(metric int) string {
	return string(slices.Concat(x.metrics[metric].keyStart, []byte(`{},`), overflowMember))
}

// CutValues returns how many values were cut, each once for every key rendered so far, and starts again at 0.
func (b *Batch) CutValues() int64 {
	n := b.cutValues
	b.cutValues = 0
	return n
}

func (b *Batch) split(i int) (m *metric, resource int, values []byte) {
	id, _ := b.counts.Entry(i)
	number, n := binary.Uvarint(id)
	r, k := binary.Uvarint(id[n:])
	return &b.extractor.metrics[number], int(r), id[n+k:]
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
	b.starts = append(b.starts, len(b.textArena))
	text := append(b.textArena, '{')
	for first := true; len(compact) > 0; first = false {
		if !first {
			text = append(text, ',')
		}
		text, compact, _ = identity.AppendNextText(text, compact, 0)
		text = append(text, ':')
		var wasCut bool
		text, compact, wasCut = identity.AppendNextText(text, compact, b.extractor.settings.ValueLengthLimit)
		if wasCut {
			b.cutValues++
		}
	}
	b.textArena = append(text, '}')
	b.ends = append(b.ends, len(b.textArena))
}
