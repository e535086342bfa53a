// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

var (
	someNames = []string{
		"code", "x", "y", "service.name", "resource.x", "attribute.y", "resource.", "a=b", "a~b", "a!=b", "!n", `"q"`, `q"q`, "", "ü", "a b&c",
	}
	someTexts = []string{"200", "2", "true", "1.5", "", "a", "A", "ab", "=", "!=x", "~", "a=b", `say "hi"`, `\`, "null", "日本", "\u2028", "%20+"}
	someLists = []string{"total", "key", "rate_10s", "rate_1m", "rate_5m"}
)

// generator makes keys and questions.
type generator struct{ *rand.Rand }

func pick[T any](g generator, list []T) T { return list[g.IntN(len(list))] }

func (g generator) value() serieskey.Value {
	switch g.IntN(8) {
	case 0, 1:
		return serieskey.IntValue(pick(g, []int64{200, 2, -1, 0, math.MaxInt64}))
	case 2:
		return serieskey.BoolValue(g.IntN(2) == 0)
	case 3:
		return serieskey.DoubleValue(pick(g, []float64{200, 2, -1, 0, 1e6, 1.5, -0.25}))
	default:
		return serieskey.StringValue(pick(g, someTexts))
	}
}

func (g generator) attributes(most int) []serieskey.Attribute {
	byName := map[string]serieskey.Value{}
	for range g.IntN(most + 1) {
		byName[pick(g, someNames[:4+g.IntN(len(someNames)-3)])] = g.value()
	}
	var list []serieskey.Attribute
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, serieskey.Attribute{Name: name, Value: byName[name]})
	}
	return list
}

func (g generator) key() string {
	k := serieskey.Key{Metric: "m", Resource: g.attributes(2), Attributes: g.attributes(3)}
	if g.IntN(8) == 0 {
		k.Attributes = []serieskey.Attribute{{Name: "otel.metric.overflow", Value: pick(g, []serieskey.Value{
			serieskey.BoolValue(true), serieskey.BoolValue(true), serieskey.BoolValue(false), serieskey.StringValue("true"),
		})}}
	}
	return k.String()
}

func (g generator) reference(n naive) string {
	known := slices.SortedFunc(maps.Keys(n.places()), func(a, b place) int { return strings.Compare(a.reference(), b.reference()) })
	if len(known) == 0 || g.IntN(20) == 0 {
		return pick(g, []string{"", "attribute.", "resource."}) + pick(g, someNames)
	}
	p := pick(g, known)
	if g.IntN(3) == 0 && !p.resource {
		return "attribute." + p.name
	}
	return p.reference()
}

func (g generator) condition(n naive) wanted {
	w := wanted{reference: g.reference(n), operator: pick(g, []string{"=", "=", "!=", "~", "", "!"}), text: textOf(g.value()), quoted: g.IntN(3) == 0}
	if w.reference == "" || w.operator == "~" && g.IntN(2) == 0 {
		w.reference, w.text = "attribute."+w.reference, pick(g, []string{"", "2", "A", "u", `"`})
	}
	w.quoted = w.operator != "~" && (w.quoted || strings.HasPrefix(w.text, `"`))
	return w
}

func (g generator) question(n naive) asked {
	q := asked{order: pick(g, someLists), limit: 1 + g.IntN(12)}
	for range g.IntN(3) {
		q.where = append(q.where, g.condition(n))
	}
	for range max(0, g.IntN(5)-1) {
		if reference := g.reference(n); !slices.Contains(q.groupBy, reference) {
			q.groupBy = append(q.groupBy, reference)
		}
	}
	return q
}

func (q asked) query() url.Values {
	v := url.Values{"metric": {"m"}, "order": {q.order}, "limit": {fmt.Sprint(q.limit)}, "group_by": q.groupBy}
	for _, w := range q.where {
		v.Add("where", w.String())
	}
	return v
}

// TestDifferential: whatever the store has and whoever asks what at the same time, every answer is what decoding every
// key gives: all pages of it, and what live streams show.
func TestDifferential(t *testing.T) {
	g := generator{evidence.Random(evidence.Seed(t))}
	for range evidence.Rounds(4, 100) {
		store, n := newStepped(), naive{}
		g.count(store, n)
		r := start(t, store)
		streams := map[*events]asked{}
		for len(streams) < 8 {
			if q := g.question(n); q.answerable(n) {
				streams[r.live(t, q.query().Encode())] = q
			}
		}
		for number := 1; number <= 3; number++ {
			r.compare(t, g, n)
			for stream, q := range streams {
				if !q.answerable(n) {
					delete(streams, stream) // what it asks about was dropped
					continue
				}
				items, _ := n.answer(q)
				assert.Empty(t, differs(q, stream.at(t, number), items, nil), "stream %s", q.query())
			}
			g.change(store, n)
			store.step(t, r)
		}
		require.NoError(t, r.Shutdown(t.Context()))
	}
}

func (q asked) answerable(n naive) bool {
	_, ok := n.answer(q)
	return ok
}

// count counts some, some keys again, a few to the largest int.
func (g generator) count(store *stepped, n naive) {
	for range 1 + g.IntN(60) {
		key, amount := g.key(), 1+g.IntN(9)
		if g.IntN(100) == 0 {
			amount = math.MaxInt - 3
		}
		store.Add(key, amount)
		one := adding{Total: n[key]}
		one.add(adding{Total: amount})
		n[key] = one.Total
	}
}

// change counts more, and drops keys by chance.
func (g generator) change(store *stepped, n naive) {
	gone := map[string]bool{}
	for key := range n {
		gone[key] = g.IntN(4) == 0 && len(gone) < len(n)-1
	}
	store.Forget(func(key string) bool { return gone[key] })
	maps.DeleteFunc(n, func(key string, _ int) bool { return gone[key] })
	g.count(store, n)
}

// compare has two clients ask at the same time.
func (r *running) compare(t *testing.T, g generator, n naive) {
	t.Helper()
	assert.Empty(t, r.metricsDiffer(t, n))
	var clients sync.WaitGroup
	for range 2 {
		var questions []asked
		for range 30 {
			questions = append(questions, g.question(n))
		}
		clients.Go(func() {
			for _, q := range questions {
				assert.Empty(t, r.pagesDiffer(t, q, n), "%s of %v", q.query(), n)
			}
		})
	}
	clients.Wait()
}

// metricsDiffer says what is wrong with the list of metrics.
func (r *running) metricsDiffer(t *testing.T, n naive) string {
	body := ask[metricsResponse](t, r, "/api/v1/metrics")
	var sum adding
	for key, total := range n {
		sum.add(addingOf(decoded(key), total))
	}
	if len(body.Metrics) != 1 || body.Metrics[0].Sum.adding() != sum {
		return fmt.Sprintf("want %v, got %+v", sum, body.Metrics)
	}
	m := body.Metrics[0]
	if m.Keys != sum.Keys || m.OverflowKeys != sum.OverflowKeys || body.Status.Keys != sum.Keys || body.Status.OverflowKeys != sum.OverflowKeys {
		return fmt.Sprintf("want %v, got %+v and %+v", sum, m, body.Status)
	}
	want := map[attributeInfo]bool{}
	for p, values := range n.places() {
		want[attributeInfo{p.reference(), p.name, p.resource, len(values)}] = true
	}
	for _, a := range m.Attributes {
		if !want[a] {
			return fmt.Sprintf("want %v, got %v", want, m.Attributes)
		}
		delete(want, a)
	}
	if len(want) > 0 {
		return fmt.Sprintf("there is no %v", want)
	}
	return ""
}

func (s summary) adding() adding { return adding{s.Keys, s.OverflowKeys, s.Total} }

// pagesDiffer says what is wrong with the pages of an answer.
func (r *running) pagesDiffer(t *testing.T, q asked, n naive) string {
	items, ok := n.answer(q)
	query := q.query()
	if !ok {
		if code, _, text := r.get(t, "/api/v1/totals?"+query.Encode()); code != http.StatusBadRequest {
			return fmt.Sprintf("want 400, got %d: %s", code, text)
		}
		return ""
	}
	shown := map[string]bool{}
	for {
		body := ask[totalsResponse](t, r, "/api/v1/totals?"+query.Encode())
		if wrong := differs(q, body, items, shown); wrong != "" || body.Next == "" {
			return wrong
		}
		query.Set("cursor", body.Next)
	}
}

// differs says what is wrong with a page, after those whose items are shown already.
func differs(q asked, body totalsResponse, items []*group, shown map[string]bool) string {
	if shown == nil {
		shown = map[string]bool{}
	}
	expected, sum := map[string]*group{}, adding{}
	for _, g := range items {
		expected[idOf(g.labels)] = g
		sum.add(g.adding)
	}
	if want := min(q.limit, len(items)-len(shown)); len(body.Items) != want {
		return fmt.Sprintf("want %d items, got %d", want, len(body.Items))
	}
	for i, got := range body.Items {
		id := idOf(got.Labels)
		want := expected[id]
		if want == nil || shown[id] || got.adding() != want.adding || got.Overflow != (want.OverflowKeys > 0) ||
			len(q.groupBy) == 0 && got.Key != want.tuple[0] {
			return fmt.Sprintf("want %+v, got %+v (shown before: %t)", want, got, shown[id])
		}
		if byRate := strings.HasPrefix(q.order, "rate"); !byRate && items[len(shown)] != want || byRate && i > 0 && rateOf(got, q.order) > rateOf(body.Items[i-1], q.order) {
			return fmt.Sprintf("item %d is out of order: %+v", i, got)
		}
		shown[id] = true
	}
	var rest adding
	for id, g := range expected {
		if !shown[id] {
			rest.add(g.adding)
		}
	}
	left := len(items) - len(shown)
	if body.Sum.adding() != sum || body.Rest.adding() != rest || body.ItemCount != len(items) || body.Rest.Items != left || (body.Next != "") != (left > 0) {
		return fmt.Sprintf("want %d items, %v, rest %d, %v; got %d, %+v, %+v, %q", len(items), sum, left, rest, body.ItemCount, body.Sum, body.Rest, body.Next)
	}
	if body.Order != q.order || !slices.Equal(body.GroupBy, q.groupBy) {
		return fmt.Sprintf("order %s, groups %q", body.Order, body.GroupBy)
	}
	return ""
}

// idOf tells items apart.
func idOf(labels []label) string {
	id := ""
	for _, l := range labels {
		id += fmt.Sprintf("%q %t %q, ", l.Name, l.Resource, l.Text)
	}
	return id
}

func rateOf(i item, order string) float64 {
	rate := map[string]*float64{"rate_10s": i.Rate10s, "rate_1m": i.Rate1m, "rate_5m": i.Rate5m}[order]
	if rate == nil {
		return 0
	}
	return *rate
}
