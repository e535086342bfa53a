// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// totals is the answer to a query about totals. It does not change.
type totals struct {
	Metric     metricStatus `json:"metric"`
	Attributes []string     `json:"attributes"` // what queries about the metric may name
	Order      string       `json:"order"`
	GroupBy    []string     `json:"group_by"`
	Items      []item       `json:"items"`
	ItemCount  int          `json:"item_count"` // in all
	Sum        summary      `json:"sum"`
	Rest       rest         `json:"rest"`
	Next       string       `json:"next,omitempty"` // cursor of the next page
}

// item is a key or a group of keys.
type item struct {
	Key      string  `json:"key,omitempty"` // the text of it; none of a group
	Labels   []label `json:"labels"`
	Overflow bool    `json:"overflow"` // overflow keys are in it: what it counts has lost attributes
	summary
	First *time.Time `json:"first"`
	Last  *time.Time `json:"last"`
}

// label is an attribute and its value.
type label struct {
	Name     string          `json:"name"`
	Resource bool            `json:"resource"`
	Value    json.RawMessage `json:"value"` // null = the keys of the group have none
	// the JSON text of the value, for those who read numbers less exactly; empty with null
	Text string `json:"text"`
}

// newLabel returns a label with a value of that JSON text, empty for none.
func newLabel(name string, resource bool, text string) label {
	if text == "" {
		return label{name, resource, json.RawMessage("null"), ""}
	}
	return label{name, resource, json.RawMessage(text), text}
}

// summary adds up keys. A rate is nil while none is known.
type summary struct {
	Keys           int      `json:"keys"` // distinct ones, overflow keys apart
	OverflowKeys   int      `json:"overflow_keys"`
	KeysNotTracked int      `json:"keys_not_tracked"` // of both kinds: the rates lack those
	Total          int      `json:"total"`
	Rate10s        *float64 `json:"rate_10s"`
	Rate1m         *float64 `json:"rate_1m"`
	Rate5m         *float64 `json:"rate_5m"`
}

// rest is what is neither on this page nor on those before.
type rest struct {
	Items int `json:"items"`
	summary
}

// totalsResponse is the body of an answer.
type totalsResponse struct {
	Status status `json:"status"`
	totals
}

func newTotals(s *sample, m *table.Metric, q *totalsQuery, res *query.Result) *totals {
	t := &totals{
		Metric: newMetricStatus(s, m), Attributes: references(m), Order: q.query.Order.String(), GroupBy: []string{},
		Items: make([]item, 0, len(res.Items)), ItemCount: res.Groups, Sum: newSummary(s, res.Sum),
		Rest: rest{res.RestGroups, newSummary(s, res.Rest)},
	}
	for _, ref := range q.query.GroupBy {
		t.GroupBy = append(t.GroupBy, ref.String())
	}
	for _, found := range res.Items {
		one := item{summary: newSummary(s, found.Summary), Overflow: found.Overflow > 0, First: unixTime(found.First), Last: unixTime(found.Last)}
		if len(q.query.GroupBy) > 0 {
			one.Labels = groupLabels(q.query.GroupBy, found.Tuple, m)
		} else {
			one.Key, one.Labels = found.Tuple[0], keyLabels(m, found.Row)
		}
		t.Items = append(t.Items, one)
	}
	if res.Next != nil {
		t.Next = query.Cursor(res.Next, q.id.text, time.Now())
	}
	return t
}

// keyLabels are those of a key: the attributes, then those of the resource.
func keyLabels(m *table.Metric, row int) []label {
	labels := []label{}
	columns := m.Shapes[m.ShapeOf(row)].Columns
	for _, resource := range []bool{false, true} {
		for position, c := range columns {
			if column := m.Columns[c]; column.Resource == resource {
				labels = append(labels, newLabel(column.Name, resource, column.Texts[m.Cell(row, position)]))
			}
		}
	}
	return labels
}

func groupLabels(by []query.Reference, tuple []string, m *table.Metric) []label {
	labels := make([]label, 0, len(by))
	for i, ref := range by {
		labels = append(labels, newLabel(ref.Name, query.IsResource(m, ref), tuple[i]))
	}
	return labels
}

func newSummary(s *sample, sum query.Summary) summary {
	out := summary{Keys: sum.Keys, OverflowKeys: sum.Overflow, KeysNotTracked: sum.Untracked, Total: sum.Total}
	rate := func(window int) *float64 {
		if s.Rates == nil || s.Rates.Covered[window] == 0 {
			return nil
		}
		f := rounded(sum.Rates[window])
		return &f
	}
	out.Rate10s, out.Rate1m, out.Rate5m = rate(rates.TenSeconds), rate(rates.OneMinute), rate(rates.FiveMinutes)
	return out
}

// totals answers /api/v1/totals.
func (h *handler) totals(r *http.Request, values url.Values) (any, *apiError) {
	q, refused := h.parseTotalsQuery(values)
	if refused != nil {
		return nil, refused
	}
	s := h.executor.sampler.newest.Load()
	t, refused := h.executor.execute(r.Context(), s, q)
	if refused != nil {
		return nil, refused
	}
	return totalsResponse{h.executor.status(s), *t}, nil
}
