// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"cmp"
	"slices"
	"strings"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// group is what the series of a metric and a resource have in common.
type group struct {
	start       string // of the text of their keys, which ends where the attributes begin
	metric      string
	resource    string                // JSON text, a part of start, to order by
	attributes  []serieskey.Attribute // of the resource
	series      int
	emitted     bool               // the settings have the metric
	description *store.Description // nil = there is none
}

// groupOf returns the group of a key for one more series.
func (e *Emitter) groupOf(key serieskey.Key, text string) *group {
	_, resource, attributes, _ := serieskey.Split(text)
	start := text[:len(text)-len(attributes)-1]
	g := e.groups[start]
	if g == nil {
		start = strings.Clone(start) // so that it does not keep the whole text
		g = &group{start: start, metric: strings.Clone(key.Metric), resource: start[len(start)-1-len(resource) : len(start)-1], emitted: true}
		g.attributes, _ = serieskey.Object(nil, g.resource)
		g.description = e.descriptions[g.metric]
		e.groups[start] = g
	}
	g.series++
	return g
}

// leaveGroup says that a series has left a group.
func (e *Emitter) leaveGroup(g *group) {
	if g.series--; g.series == 0 {
		delete(e.groups, g.start)
	}
}

// describe brings groups up to date.
func (e *Emitter) describe(descriptions []store.Description) {
	clear(e.descriptions)
	for i, d := range descriptions {
		e.descriptions[d.Metric] = &descriptions[i]
	}
	for _, g := range e.groups {
		g.description, g.emitted = e.descriptions[g.metric], e.emits(g.metric)
	}
}

// arrange brings the order of the series up to date: those that are new to it take their places, the others stay where
// they are.
func (e *Emitter) arrange() {
	if e.gaps {
		e.order = slices.DeleteFunc(e.order, func(s *series) bool { return !s.inOrder })
		e.gaps = false
	}
	slices.SortFunc(e.fresh, compare)
	end := len(e.order)
	e.order = append(e.order, e.fresh...)
	for i, s := range slices.Backward(e.fresh) {
		at, _ := slices.BinarySearchFunc(e.order[:end], s, compare)
		copy(e.order[at+i+1:], e.order[at:end])
		e.order[at+i] = s
		s.inOrder, end = true, at
	}
	clear(e.fresh)
	e.fresh = e.fresh[:0]
}

// compare orders series by resource and then by metric, with which the text begins.
func compare(a, b *series) int {
	if a.group == b.group {
		return cmp.Compare(a.text, b.text)
	}
	return cmp.Or(cmp.Compare(a.group.resource, b.group.resource), cmp.Compare(a.text, b.text))
}
