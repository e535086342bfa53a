// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package query

import (
	"cmp"
	"container/heap"
	"slices"
)

// candidate is a row or a group, and its place in the order. Fields that the order does not look at are 0.
type candidate struct {
	rate  float64
	total int
	id    int
}

// topItems keeps the first of the candidates that are offered, behind a position.
type topItems struct {
	view   *view
	limit  int
	heap   []candidate // the last of them is at the root
	passed int         // candidates up to the position
	rest   Summary     // of those that were not kept
}

func newTopItems(v *view, limit int) *topItems { return &topItems{view: v, limit: limit} }

// offer offers a candidate, whose summary is sum.
func (s *topItems) offer(c candidate, sum *Summary) {
	after := s.view.query.After
	switch {
	case after != nil && s.compareTo(c, after) <= 0:
		s.passed++
	case len(s.heap) < s.limit:
		heap.Push((*byOrder)(s), c)
	case s.compare(c, s.heap[0]) < 0:
		out := s.view.sum(s.heap[0].id)
		s.rest.add(&out)
		s.heap[0] = c
		heap.Fix((*byOrder)(s), 0)
	default:
		s.rest.add(sum)
	}
}

// sorted returns what was kept, in order.
func (s *topItems) sorted() []candidate {
	list := slices.Clone(s.heap)
	slices.SortFunc(list, s.compare)
	return list
}

func (s *topItems) compare(a, b candidate) int {
	if c := cmp.Or(cmp.Compare(b.rate, a.rate), cmp.Compare(b.total, a.total)); c != 0 {
		return c
	}
	for i := range s.view.width() {
		if c := cmp.Compare(s.view.part(a.id, i), s.view.part(b.id, i)); c != 0 {
			return c
		}
	}
	return 0
}

func (s *topItems) compareTo(a candidate, p *Position) int {
	if c := cmp.Or(cmp.Compare(p.Rate, a.rate), cmp.Compare(p.Total, a.total)); c != 0 {
		return c
	}
	for i := range min(s.view.width(), len(p.Tuple)) {
		if c := cmp.Compare(s.view.part(a.id, i), p.Tuple[i]); c != 0 {
			return c
		}
	}
	return 0
}

// byOrder is the heap.
type byOrder topItems

func (h *byOrder) Len() int           { return len(h.heap) }
func (h *byOrder) Less(i, j int) bool { return (*topItems)(h).compare(h.heap[i], h.heap[j]) > 0 }
func (h *byOrder) Swap(i, j int)      { h.heap[i], h.heap[j] = h.heap[j], h.heap[i] }
func (h *byOrder) Push(c any)         { h.heap = append(h.heap, c.(candidate)) }

// Pop takes off the last.
func (h *byOrder) Pop() any {
	last := len(h.heap) - 1
	c := h.heap[last]
	h.heap = h.heap[:last]
	return c
}

// group is the keys that agree in what is grouped by.
type group struct {
	row int // one of them
	sum Summary
}

// grouper finds the group of a row: a value after the other, each time a number of what has come so far.
type grouper struct {
	view   *view
	first  []int32             // by the first value; -1 = there is none yet
	deeper []map[uint64]uint32 // by what has come so far and the next value
	made   []uint32            // numbers that were given, by depth
	groups []group
}

func newGrouper(v *view) *grouper {
	texts := len(v.metric.Columns[v.by[0].column].Texts)
	g := &grouper{view: v, made: make([]uint32, len(v.by)), groups: make([]group, 0, min(texts, v.metric.Live))}
	g.first = make([]int32, texts)
	for i := range g.first {
		g.first[i] = -1
	}
	for range v.by[1:] {
		g.deeper = append(g.deeper, map[uint64]uint32{})
	}
	return g
}

func (g *grouper) add(row int, one *Summary) {
	cell := g.view.by[0].cell(g.view.metric, row)
	if g.first[cell] < 0 {
		g.first[cell] = int32(g.number(0))
	}
	number := uint32(g.first[cell])
	for i, numbers := range g.deeper {
		id := uint64(number)<<32 | uint64(g.view.by[i+1].cell(g.view.metric, row))
		next, ok := numbers[id]
		if !ok {
			next = g.number(i + 1)
			numbers[id] = next
		}
		number = next
	}
	if int(number) == len(g.groups) {
		g.groups = append(g.groups, group{row: row})
	}
	g.groups[number].sum.add(one)
}

// number gives the next one of a depth.
func (g *grouper) number(depth int) uint32 {
	g.made[depth]++
	return g.made[depth] - 1
}
