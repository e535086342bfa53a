// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

var epoch = time.Unix(1_700_000_000, 0)

// shop is a metric that tests ask about: totals that grow by a tenth in the ten seconds between its two samples.
func shop(t testing.TB, totals map[string]int) (*table.Metric, *rates.Rates) {
	t.Helper()
	b := table.NewBuilder(1000)
	var s *table.Snapshot
	for i := range 2 {
		b.Begin()
		for key, total := range totals {
			b.Add(key, total*9/10+i*(total-total*9/10), epoch, epoch.Add(time.Second))
		}
		s = b.End(epoch.Add(time.Duration(10*i)*time.Second), true)
	}
	require.Len(t, s.Metrics, 1)
	return s.Metrics["m"], s.Rates
}

var small = map[string]int{
	`["m",{"service":"cart"},{"code":200,"route":"/a"}]`:          100,
	`["m",{"service":"cart"},{"code":"200","route":"/a"}]`:        90,
	`["m",{"service":"cart"},{"code":404}]`:                       80,
	`["m",{"service":"web"},{"code":200,"route":"/B"}]`:           70,
	`["m",{"service":"web"},{"route":"/b","service":"override"}]`: 60,
	`["m",{"service":"web"},{"otel.metric.overflow":true}]`:       50,
}

// ask returns the answer to a question in words: totals by what the items are called.
func ask(t testing.TB, where, by []string, order string, limit int) ([]string, *Result) {
	t.Helper()
	m, r := shop(t, small)
	q := Query{Limit: limit}
	var err error
	q.Order, err = ParseOrder(order)
	require.NoError(t, err)
	for _, w := range where {
		c, err := ParseCondition(w)
		require.NoError(t, err)
		q.Where = append(q.Where, c)
	}
	for _, name := range by {
		q.GroupBy = append(q.GroupBy, ParseReference(name))
	}
	res, err := Run(t.Context(), m, r, q)
	require.NoError(t, err)
	var items []string
	for _, i := range res.Items {
		items = append(items, fmt.Sprint(strings.Join(i.Tuple, "+"), "=", i.Total))
	}
	return items, res
}

// A number finds the values that equal it, of any kind, and the string that is shown as it is; in quotes it finds the
// string alone. A part is one of the text that is shown.
func TestWhereByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(-3, 3), rapid.IntRange(-1<<53, 1<<53)).Draw(t, "number")
		texts := []string{"", fmt.Sprint(n), string(serieskey.AppendValue(nil, serieskey.DoubleValue(float64(n)))), fmt.Sprintf("%q", fmt.Sprint(n)), fmt.Sprint(n + 1), "true"}
		is := func(condition string) []bool {
			c, err := ParseCondition(condition)
			require.NoError(t, err)
			return c.values(texts)
		}
		for _, text := range texts[1:3] {
			require.Equal(t, []bool{false, true, true}, is("a=" + text)[:3], text)
			require.Equal(t, []bool{true, false, false}, is("a!=" + text)[:3], text)
			require.Equal(t, []bool{true, true}, is("a!=" + text)[4:], text)
		}
		require.Equal(t, []bool{false, true, true, true, false, false}, is(fmt.Sprint("a=", n)))
		require.Equal(t, []bool{false, false, false, true, false, false}, is(fmt.Sprintf("a=%q", fmt.Sprint(n))))
		require.Equal(t, []bool{false, true, true, true}, is(fmt.Sprint("a~", n))[:4])
	})
}

func TestWhere(t *testing.T) {
	for where, want := range map[string][]int{
		"code=200":                  {100, 90, 70},
		`code="200"`:                {90},
		"code!=200":                 {80, 60, 50},
		"code":                      {100, 90, 80, 70},
		"!code":                     {60, 50},
		"route~/B":                  {100 - 30, 60}, // in any case
		"service=override":          {60},           // an attribute goes before the one of the resource
		"resource.service=web":      {70, 60, 50},
		"attribute.service=web":     nil,
		"otel.metric.overflow=true": {50},
		`"route"=/a`:                {100, 90},
		"code=":                     nil,
		"route~":                    {100, 90, 70, 60},
	} {
		_, res := ask(t, []string{where}, nil, "total", 10)
		var got []int
		for _, item := range res.Items {
			got = append(got, item.Total)
		}
		assert.Equal(t, want, got, where)
		assert.Zero(t, res.Rest.Keys)
		assert.Equal(t, len(want), res.Sum.Keys+res.Sum.Overflow)
	}
	_, res := ask(t, []string{"code=200", "resource.service=cart"}, nil, "total", 10)
	assert.Len(t, res.Items, 2, "all conditions must be met")
}

func TestGroupsAndRest(t *testing.T) {
	items, res := ask(t, nil, []string{"resource.service"}, "total", 10)
	assert.Equal(t, []string{`"cart"=270`, `"web"=180`}, items)
	assert.Equal(t, 2, res.Items[1].Keys)
	assert.Equal(t, 1, res.Items[1].Overflow)

	items, res = ask(t, nil, []string{"resource.service", "code"}, "total", 2)
	assert.Equal(t, []string{`"web"+=110`, `"cart"+200=100`}, items)
	assert.Equal(t, 450, res.Sum.Total)
	assert.Equal(t, 240, res.Rest.Total)
	assert.Equal(t, 3, res.RestGroups)
	assert.Equal(t, 5, res.Groups)
	assert.Equal(t, 3, res.Rest.Keys)
	assert.InDelta(t, 24./10, res.Rest.Rates[rates.TenSeconds], 1e-6)
	assert.InDelta(t, 45./10, res.Sum.Rates[rates.TenSeconds], 1e-6)
	require.NotNil(t, res.Next)

	items, _ = ask(t, nil, []string{"code"}, "key", 10)
	assert.Equal(t, []string{`=110`, `"200"=90`, `200=170`, `404=80`}, items)
}

func TestBadQuestions(t *testing.T) {
	m, r := shop(t, small)
	for _, text := range []string{"", "=x", "!", "!a=b", `"a=b`, `"a"b`, `a="x`, `a="x"y`, "~x"} {
		_, err := ParseCondition(text)
		assert.ErrorIs(t, err, ErrCondition, text)
	}
	for _, ref := range []string{"nothing", "resource.code", "attribute.nothing", ""} {
		_, err := Run(t.Context(), m, r, Query{GroupBy: []Reference{ParseReference(ref)}, Limit: 1})
		assert.ErrorIs(t, err, ErrAttribute, ref)
		_, err = Run(t.Context(), m, r, Query{Where: []Condition{{Reference: ParseReference(ref)}}, Limit: 1})
		assert.ErrorIs(t, err, ErrAttribute, ref)
	}
	_, err := ParseOrder("totals")
	assert.ErrorIs(t, err, ErrOrder)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Run(ctx, m, r, Query{Limit: 1})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestCursor(t *testing.T) {
	p := &Position{Total: math.MaxInt, Rate: 1. / 3, Tuple: []string{`["m",{},{"a":"\u0000"}]`}}
	text := Cursor(p, "m", epoch)
	got, err := ParseCursor(text, "m", 0, epoch.Add(time.Minute), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, p, got)

	for _, tt := range []struct {
		text, question string
		groupBy        int
		at             time.Time
		want           error
	}{
		{text, "m", 0, epoch.Add(time.Minute + time.Second), ErrExpired},
		{text, "m", 0, epoch.Add(24 * time.Hour), ErrExpired},
		{text, "m", 0, epoch.Add(-2 * time.Minute), ErrExpired},
		{text, "n", 0, epoch, ErrOther},
		{text, "m", 2, epoch, ErrCursor},
		{"", "m", 0, epoch, ErrCursor},
		{"!", "m", 0, epoch, ErrCursor},
		{"e30", "m", 0, epoch, ErrCursor},
		{text + "e30", "m", 0, epoch, ErrCursor},
	} {
		_, err := ParseCursor(tt.text, tt.question, tt.groupBy, tt.at, time.Minute)
		assert.ErrorIs(t, err, tt.want, "%+v", tt)
	}
}

func FuzzQuestions(f *testing.F) {
	f.Add("a=b", "eyJ9", "resource.a")
	m, r := shop(f, small)
	f.Fuzz(func(t *testing.T, where, cursor, by string) {
		q := Query{Limit: 2, GroupBy: []Reference{ParseReference(by)}}
		if c, err := ParseCondition(where); err == nil {
			q.Where = append(q.Where, c)
		}
		if p, err := ParseCursor(cursor, "m", 1, epoch, time.Hour); err == nil {
			q.After = p
		}
		_, _ = Run(t.Context(), m, r, q) // it may refuse, and must not panic
	})
}

// naive answers by decoding each key, without columns, heaps or cursors.
func naive(totals map[string]int, q Query) map[string]int {
	groups := map[string]int{}
	find := func(k serieskey.Key, ref Reference) string {
		list := k.Attributes
		if ref.Scope == Resource {
			list = k.Resource
		}
		for _, a := range list {
			if a.Name == ref.Name {
				return string(serieskey.AppendValue(nil, a.Value))
			}
		}
		return ""
	}
	for text, total := range totals {
		k, _ := serieskey.Decode(text)
		met := true
		for _, c := range q.Where {
			value := find(k, c.Reference)
			equal := value != "" && (value == c.Text || value == `"`+c.Text+`"`)
			met = met && (c.Operator == Equals) == equal
		}
		if !met {
			continue
		}
		id := text
		if len(q.GroupBy) > 0 {
			var parts []string
			for _, ref := range q.GroupBy {
				parts = append(parts, find(k, ref))
			}
			id = strings.Join(parts, "\x00")
		}
		groups[id] += total
	}
	return groups
}

// TestAgainstAPlainModel: whatever is asked, page by page, is what decoding every key gives.
func TestAgainstAPlainModel(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	totals := map[string]int{}
	for range 600 {
		k := serieskey.Key{Metric: "m"}
		if random.IntN(3) > 0 {
			k.Resource = append(k.Resource, serieskey.Attribute{Name: "r", Value: serieskey.IntValue(random.Int64N(5))})
		}
		for _, name := range []string{"a", "b"} {
			switch random.IntN(3) {
			case 0:
				k.Attributes = append(k.Attributes, serieskey.Attribute{Name: name, Value: serieskey.StringValue(fmt.Sprint(random.IntN(30)))})
			case 1:
				k.Attributes = append(k.Attributes, serieskey.Attribute{Name: name, Value: serieskey.IntValue(random.Int64N(30))})
			}
		}
		totals[k.String()] = 1 + random.IntN(20)
	}
	m, r := shop(t, totals)
	refs := []Reference{{Attributes, "a"}, {Attributes, "b"}, {Resource, "r"}}
	for round := range 100 {
		q := Query{Limit: 1 + random.IntN(80), Order: Order(random.IntN(len(orders)))}
		for range random.IntN(3) {
			q.Where = append(q.Where, Condition{
				Reference: refs[random.IntN(3)], Operator: Operator(random.IntN(2)), Text: fmt.Sprint(random.IntN(6)),
			})
		}
		for _, i := range random.Perm(3)[:random.IntN(4)] {
			q.GroupBy = append(q.GroupBy, refs[i])
		}
		want := naive(totals, q)
		got := map[string]int{}
		var all []Item
		for {
			res, err := Run(t.Context(), m, r, q)
			require.NoError(t, err)
			require.Equal(t, len(want), res.Groups)
			for _, item := range res.Items {
				got[strings.Join(item.Tuple, "\x00")] = item.Total
			}
			all = append(all, res.Items...)
			shown := 0
			for _, item := range all {
				shown += item.Total
			}
			require.Equal(t, res.Sum.Total, shown+res.Rest.Total, "what is shown and the rest are the sum")
			require.Equal(t, res.Groups, len(all)+res.RestGroups)
			require.Equal(t, res.RestGroups > 0, res.Next != nil)
			if q.After = res.Next; q.After == nil {
				break
			}
		}
		require.Equal(t, want, got, "round %d: %+v", round, q)
		require.Len(t, all, len(want), "no item comes twice")
		require.True(t, slices.IsSortedFunc(all, func(a, b Item) int {
			c := slices.Compare(a.Tuple, b.Tuple)
			switch q.Order {
			case ByKey:
				return c
			case ByTotal:
				return cmp.Or(cmp.Compare(b.Total, a.Total), c)
			default:
				w := q.Order - ByRate10s
				return cmp.Or(cmp.Compare(b.Rates[w], a.Rates[w]), cmp.Compare(b.Total, a.Total), c)
			}
		}), "%+v", q)
	}
}

// TestSumsSaturate: a sum stays at the largest int, and what is left of it is exact.
func TestSumsSaturate(t *testing.T) {
	m, r := shop(t, map[string]int{`["m",{},{"a":1}]`: math.MaxInt / 9, `["m",{},{"a":2}]`: math.MaxInt / 9, `["m",{},{"a":3}]`: 3})
	for row, key := range m.Keys {
		if key != `["m",{},{"a":3}]` {
			m.Values[row] = math.MaxInt
		}
	}
	for limit, rest := range map[int]int{1: math.MaxInt, 2: 3, 3: 0} {
		for _, by := range [][]Reference{nil, {{Name: "a"}}} {
			res, err := Run(t.Context(), m, r, Query{Limit: limit, GroupBy: by})
			require.NoError(t, err)
			assert.Equal(t, math.MaxInt, res.Sum.Total)
			assert.Equal(t, rest, res.Rest.Total, limit)
			assert.Equal(t, 3-limit, res.Rest.Keys)
		}
	}
}
