// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// seriesSet is the rows of a metric as Prometheus has them: labels are text, and their names have underscores, so rows
// whose labels are the same then are one, their sum. That holds for clients that take any name too: what they see does
// not depend on it.
type seriesSet struct {
	metric *table.Metric
	shapes [][]seriesLabel
	merged map[int]bool         // rows that are shown with another
	added  map[int]mergedTotals // what those add to the other
}

// mergedTotals is what other rows add to one.
type mergedTotals struct {
	value float64
	start int64 // the earliest of all, in nanoseconds
}

// seriesLabel is a label of a shape.
type seriesLabel struct {
	name     string  // as Prometheus has it
	escaped  *string // as the client wants it
	position int     // of the cell
	column   uint32
}

func newSeriesSet(m *table.Metric, scheme model.EscapingScheme) *seriesSet {
	s := &seriesSet{metric: m, merged: map[int]bool{}, added: map[int]mergedTotals{}}
	for _, shape := range m.Shapes {
		s.shapes = append(s.shapes, shapeLabels(m, shape, scheme))
	}
	s.merge()
	return s
}

// shapeLabels names the labels of a shape: the attributes', then the resource's. They come in the order of their names.
func shapeLabels(m *table.Metric, shape table.Shape, scheme model.EscapingScheme) []seriesLabel {
	namer := labels.NewNamer()
	var list []seriesLabel
	for _, resource := range []bool{false, true} {
		prefix := labels.AttributePrefix
		if resource {
			prefix = labels.ResourcePrefix
		}
		for position, c := range shape.Columns {
			if m.Columns[c].Resource == resource {
				label := namer.Name(prefix, m.Columns[c].Name)
				escaped := model.EscapeName(label.Name, scheme)
				list = append(list, seriesLabel{label.Prometheus, &escaped, position, c})
			}
		}
	}
	slices.SortFunc(list, func(a, b seriesLabel) int { return cmp.Compare(a.name, b.name) })
	return list
}

// each yields the labels of a row. A label without a value is none.
func (s *seriesSet) each(row int, yield func(name *string, value string)) {
	for _, l := range s.shapes[s.metric.ShapeOf(row)] {
		if value := s.value(row, l); value != "" {
			yield(l.escaped, value)
		}
	}
}

func (s *seriesSet) value(row int, l seriesLabel) string {
	return serieskey.Shown(s.metric.Columns[l.column].Texts[s.metric.Cell(row, l.position)])
}

// hashed is a row and a hash of its labels.
type hashed struct {
	hash uint64
	row  int
}

// merge finds the rows whose labels are the same. It takes 16 bytes a row for as long as it runs.
func (s *seriesSet) merge() {
	list := make([]hashed, 0, s.metric.Live)
	seed := maphash.MakeSeed()
	for row, value := range s.metric.Values {
		if value != table.Gone {
			list = append(list, hashed{s.hash(seed, row), row})
		}
	}
	slices.SortFunc(list, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.row, b.row)) })
	var firsts []int // of the series with one hash: more than one only where it collides
	for i, h := range list {
		if i > 0 && list[i-1].hash != h.hash {
			firsts = firsts[:0]
		}
		if f := slices.IndexFunc(firsts, func(first int) bool { return s.same(first, h.row) }); f >= 0 {
			s.add(firsts[f], h.row)
		} else {
			firsts = append(firsts, h.row)
		}
	}
}

// add shows a row with the first of its series.
func (s *seriesSet) add(first, row int) {
	s.merged[row] = true
	a, known := s.added[first]
	if !known {
		a.start = s.metric.Starts[first]
	}
	s.added[first] = mergedTotals{a.value + float64(s.metric.Values[row]), min(a.start, s.metric.Starts[row])}
}

// start returns when a row, or what is shown with it, was first counted, in nanoseconds; 0 = it is not known.
func (s *seriesSet) start(row int) int64 {
	if a, known := s.added[row]; known {
		return a.start
	}
	return s.metric.Starts[row]
}

func (s *seriesSet) hash(seed maphash.Seed, row int) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, l := range s.shapes[s.metric.ShapeOf(row)] {
		if value := s.value(row, l); value != "" {
			_, _ = h.WriteString(l.name) // it never fails, as those below
			_ = h.WriteByte(0)
			_, _ = h.WriteString(value)
			_ = h.WriteByte(0)
		}
	}
	return h.Sum64()
}

// same compares the labels themselves.
func (s *seriesSet) same(a, b int) bool { return slices.Equal(s.list(a), s.list(b)) }

func (s *seriesSet) list(row int) []string {
	var list []string
	for _, l := range s.shapes[s.metric.ShapeOf(row)] {
		if value := s.value(row, l); value != "" {
			list = append(list, l.name, value)
		}
	}
	return list
}
