// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// naive answers questions by decoding every key for each of them: no columns, heaps, cursors or shared streams.
type naive map[string]int

// asked is a question as a client has it in mind.
type asked struct {
	where   []wanted
	groupBy []string // references
	order   string
	limit   int
}

// wanted is a condition.
type wanted struct {
	reference string
	operator  string // "=", "!=", "~", "" (is there) or "!" (is not there)
	text      string
	quoted    bool // the value is a string and no number
}

// place is where an attribute is.
type place struct {
	resource bool
	name     string
}

// group is an item that is expected.
type group struct {
	tuple  []string
	labels []label
	adding
}

// adding is what keys add up to.
type adding struct{ Keys, OverflowKeys, Total int }

func (a *adding) add(b adding) {
	a.Keys += b.Keys
	a.OverflowKeys += b.OverflowKeys
	if a.Total += b.Total; a.Total < 0 {
		a.Total = math.MaxInt
	}
}

func decoded(text string) serieskey.Key {
	k, _ := serieskey.Decode(text) // the test has made it
	return k
}

func (p place) of(k serieskey.Key) (serieskey.Value, bool) {
	list := k.Attributes
	if p.resource {
		list = k.Resource
	}
	i := slices.IndexFunc(list, func(a serieskey.Attribute) bool { return a.Name == p.name })
	if i < 0 {
		return serieskey.Value{}, false
	}
	return list[i].Value, true
}

// places are those of all attributes that keys have, with the JSON texts of their values.
func (n naive) places() map[place]map[string]bool {
	all := map[place]map[string]bool{}
	for text := range n {
		k := decoded(text)
		for resource, list := range map[bool][]serieskey.Attribute{false: k.Attributes, true: k.Resource} {
			for _, a := range list {
				p := place{resource, a.Name}
				if all[p] == nil {
					all[p] = map[string]bool{}
				}
				all[p][jsonOf(a.Value)] = true
			}
		}
	}
	return all
}

// find finds the place that a reference stands for.
func (n naive) find(reference string) (place, bool) {
	known := n.places()
	if name, ok := strings.CutPrefix(reference, "resource."); ok {
		return place{true, name}, known[place{true, name}] != nil
	}
	if name, ok := strings.CutPrefix(reference, "attribute."); ok {
		return place{false, name}, known[place{false, name}] != nil
	}
	if p := (place{false, reference}); known[p] != nil {
		return p, true
	}
	return place{true, reference}, known[place{true, reference}] != nil
}

// reference is the shortest one that means a place.
func (p place) reference() string {
	switch {
	case p.resource:
		return "resource." + p.name
	case p.name == "" || strings.HasPrefix(p.name, "resource.") || strings.HasPrefix(p.name, "attribute."):
		return "attribute." + p.name
	default:
		return p.name
	}
}

func jsonOf(v serieskey.Value) string { return string(serieskey.AppendValue(nil, v)) }

// textOf is the text of a value as pdata has it.
func textOf(v serieskey.Value) string {
	if v.Kind() == serieskey.Double {
		return pcommon.NewValueDouble(v.Double()).AsString()
	}
	return v.AsString()
}

func (w wanted) met(v serieskey.Value, there bool) bool {
	equal := there && textOf(v) == w.text && (!w.quoted || v.Kind() == serieskey.String)
	switch w.operator {
	case "=":
		return equal
	case "!=":
		return !equal
	case "~":
		return there && strings.Contains(strings.ToLower(textOf(v)), strings.ToLower(w.text))
	case "":
		return there
	default:
		return !there
	}
}

// String is the condition as it is sent.
func (w wanted) String() string {
	name := w.reference
	if name == "" || strings.ContainsAny(name, "\"=~!") {
		name = jsonOf(serieskey.StringValue(name))
	}
	switch w.operator {
	case "":
		return name
	case "!":
		return "!" + name
	case "~":
		return name + "~" + w.text
	}
	if w.quoted {
		text, _ := json.Marshal(w.text) // a string
		return name + w.operator + string(text)
	}
	return name + w.operator + w.text
}

// answer returns all items in order, but for orders by rate; ok is false for a question that cannot be answered.
func (n naive) answer(q asked) (items []*group, ok bool) {
	var conditions, by []place
	for _, w := range q.where {
		p, ok := n.find(w.reference)
		if !ok {
			return nil, false
		}
		conditions = append(conditions, p)
	}
	for _, reference := range q.groupBy {
		p, ok := n.find(reference)
		if !ok || slices.Contains(by, p) {
			return nil, false
		}
		by = append(by, p)
	}
	groups := map[string]*group{}
	for text, total := range n {
		k := decoded(text)
		met := true
		for i, w := range q.where {
			v, there := conditions[i].of(k)
			met = met && w.met(v, there)
		}
		if !met {
			continue
		}
		one := &group{tuple: []string{text}, labels: labelsOf(k)}
		if len(by) > 0 {
			one = groupOf(k, by)
		}
		id := strings.Join(one.tuple, "\x00")
		if groups[id] == nil {
			groups[id] = one
		}
		groups[id].add(addingOf(k, total))
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b *group) int {
		if q.order == "total" && a.Total != b.Total {
			return cmp.Compare(b.Total, a.Total)
		}
		return slices.Compare(a.tuple, b.tuple)
	}), true
}

func labelsOf(k serieskey.Key) []label {
	labels := []label{}
	for _, a := range k.Attributes {
		labels = append(labels, newLabel(a.Name, false, jsonOf(a.Value)))
	}
	for _, a := range k.Resource {
		labels = append(labels, newLabel(a.Name, true, jsonOf(a.Value)))
	}
	return labels
}

func groupOf(k serieskey.Key, by []place) *group {
	g := &group{}
	for _, p := range by {
		text := ""
		if v, there := p.of(k); there {
			text = jsonOf(v)
		}
		g.tuple = append(g.tuple, text)
		g.labels = append(g.labels, newLabel(p.name, p.resource, text))
	}
	return g
}

func addingOf(k serieskey.Key, total int) adding {
	if v, there := (place{false, "otel.metric.overflow"}).of(k); there && v.Kind() == serieskey.Bool && v.Bool() {
		return adding{OverflowKeys: 1, Total: total}
	}
	return adding{Keys: 1, Total: total}
}
