// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package query answers queries about the totals of one metric: which keys, grouped by what, in which order, how many
// of them. It reads a table.Metric, which does not change, and has no state.
package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// Order is what items are ordered by.
type Order int

// The orders. All but ByKey are descending; what is equal is in the order of total, then of keys.
const (
	ByTotal Order = iota
	ByRate10s
	ByRate1m
	ByRate5m
	ByKey
)

// orders are their names.
var orders = []string{"total", "rate_10s", "rate_1m", "rate_5m", "key"}

// Orders returns the names of all orders.
func Orders() []string { return append([]string{}, orders...) }

func (o Order) String() string { return orders[o] }

// ParseOrder reads a name.
func ParseOrder(name string) (Order, error) {
	for i, n := range orders {
		if n == name {
			return Order(i), nil
		}
	}
	return 0, fmt.Errorf("order is %q: %w", name, ErrOrder)
}

// What can be wrong with a query.
var (
	ErrOrder     = errors.New("no such order")
	ErrCondition = errors.New("is not a condition")
	ErrAttribute = errors.New("no key of the metric has such an attribute")
	ErrTwice     = errors.New("is the same attribute as one before it")
	ErrCursor    = errors.New("is not a cursor of this console")
	ErrExpired   = errors.New("has expired; ask again without it")
	ErrOther     = errors.New("is of another query")
)

// Query is a query.
type Query struct {
	Where   []Condition // all of them must be met
	GroupBy []Reference // none = each key is an item
	Order   Order
	Limit   int       // items; it must be positive
	After   *Position // nil = from the first
}

// Position is where an item stands in an order.
type Position struct {
	Rate  float64 // what orders before Total; 0 where nothing does
	Total int
	Tuple []string // as in Item
}

// Item is a key, or a group of keys.
type Item struct {
	Tuple []string // the text of the key; of a group the JSON texts of its values, empty where keys have none
	Row   int      // of the key; of a group, of one of its keys
	Summary
}

// Summary adds up keys.
type Summary struct {
	Keys      int // distinct ones, overflow keys apart
	Overflow  int // overflow keys
	Untracked int // keys of both kinds that grow and whose rates are not known
	Total     int
	Rates     [rates.Windows]float64 // a second
	First     int64                  // when the first of them was first counted; Unix time in nanoseconds
	Last      int64                  // when the last of them was last counted
}

// Result is an answer.
type Result struct {
	Items  []Item
	Groups int     // items that there are in all
	Sum    Summary // of all keys that meet the conditions
	Rest   Summary // of those that are neither here nor before; their number is RestGroups

	RestGroups int
	Next       *Position // nil = nothing follows
}

// checkEvery is after how many rows the context is looked at.
const checkEvery = 1 << 16

// Run answers a query. Its errors are ErrAttribute, ErrTwice, and that of ctx.
func Run(ctx context.Context, m *table.Metric, r *rates.Rates, q Query) (*Result, error) {
	conditions, err := compile(m, q.Where)
	if err != nil {
		return nil, err
	}
	v := &view{metric: m, rates: r, query: q}
	if v.by, err = bindGroups(m, q.GroupBy); err != nil {
		return nil, err
	}
	res, s := &Result{}, newTopItems(v, q.Limit)
	if err := res.scan(ctx, v, s, conditions); err != nil {
		return nil, err
	}
	res.finish(v, s)
	return res, nil
}

// scan adds up the rows that meet the conditions, and offers them or their groups.
func (res *Result) scan(ctx context.Context, v *view, s *topItems, conditions filters) error {
	var groups *grouper
	if len(v.by) > 0 {
		groups = newGrouper(v)
	}
	for row, total := range v.metric.Values {
		if row%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if total == table.Gone || !conditions.meet(v.metric, row) {
			continue
		}
		one := v.summary(row)
		res.Sum.add(&one)
		if groups != nil {
			groups.add(row, &one)
			continue
		}
		res.Groups++
		s.offer(v.candidate(row, &one), &one)
	}
	if groups != nil {
		res.offer(v, s, groups.groups)
	}
	return nil
}

// offer offers groups.
func (res *Result) offer(v *view, s *topItems, groups []group) {
	v.groups, res.Groups = groups, len(groups)
	for i := range groups {
		s.offer(v.candidate(i, &groups[i].sum), &groups[i].sum)
	}
}

// bindGroups finds the columns to group by, each of which may be there once, whatever it is called.
func bindGroups(m *table.Metric, by []Reference) ([]binding, error) {
	var list []binding
	for _, ref := range by {
		b, err := bind(m, ref)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(other binding) bool { return other.column == b.column }) {
			return nil, fmt.Errorf("group_by %q %w", ref, ErrTwice)
		}
		list = append(list, b)
	}
	return list, nil
}

// view looks at rows or groups as candidates for the answer.
type view struct {
	metric *table.Metric
	rates  *rates.Rates
	query  Query
	by     []binding
	groups []group
}

// summary is that of one row.
func (v *view) summary(row int) Summary {
	m := v.metric
	s := Summary{Total: m.Values[row], First: m.Starts[row], Last: m.Lasts[row]}
	if m.Shapes[m.ShapeOf(row)].Overflow {
		s.Overflow = 1
	} else {
		s.Keys = 1
	}
	switch slot := m.Slots[row]; {
	case slot >= 0:
		for i, perSecond := range v.rates.PerSecond {
			s.Rates[i] = float64(perSecond[slot])
		}
	case slot == rates.Untracked:
		s.Untracked = 1
	}
	return s
}

// add adds up; a total at the largest int stays there.
func (s *Summary) add(o *Summary) {
	if s.Keys+s.Overflow == 0 || o.First < s.First {
		s.First = o.First
	}
	s.Keys += o.Keys
	s.Overflow += o.Overflow
	s.Untracked += o.Untracked
	if s.Total += o.Total; s.Total < 0 {
		s.Total = math.MaxInt
	}
	for i := range s.Rates {
		s.Rates[i] += o.Rates[i]
	}
	s.Last = max(s.Last, o.Last)
}

// width is how many parts tuples have.
func (v *view) width() int { return max(1, len(v.by)) }

// part returns a part of the tuple of a candidate.
func (v *view) part(id, i int) string {
	if len(v.by) == 0 {
		return v.metric.Keys[id]
	}
	return v.by[i].text(v.metric, v.groups[id].row)
}

// sum returns the summary of a candidate.
func (v *view) sum(id int) Summary {
	if len(v.by) == 0 {
		return v.summary(id)
	}
	return v.groups[id].sum
}

// candidate places a row or a group in the order.
func (v *view) candidate(id int, s *Summary) candidate {
	c := candidate{id: id, total: s.Total}
	switch v.query.Order {
	case ByRate10s, ByRate1m, ByRate5m:
		c.rate = s.Rates[v.query.Order-ByRate10s]
	case ByKey:
		c.total = 0
	default:
	}
	return c
}

// finish fills in the items, and what is left.
func (res *Result) finish(v *view, s *topItems) {
	list := s.sorted()
	for _, c := range list {
		it := Item{Row: c.id, Summary: v.sum(c.id)}
		if len(v.by) > 0 {
			it.Row = v.groups[c.id].row
		}
		for i := range v.width() {
			it.Tuple = append(it.Tuple, strings.Clone(v.part(c.id, i)))
		}
		res.Items = append(res.Items, it)
	}
	res.RestGroups = res.Groups - s.passed - len(list)
	res.Rest = s.rest
	if res.RestGroups > 0 && len(list) > 0 {
		last := list[len(list)-1]
		res.Next = &Position{Rate: last.rate, Total: last.total, Tuple: res.Items[len(list)-1].Tuple}
	}
}
