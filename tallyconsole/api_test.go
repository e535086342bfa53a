// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
)

// shop is a store with a metric of 30 keys of its own and two that overflow, and one that nothing was counted of.
func shop() *memory.Store {
	s := memory.New()
	s.Describe(store.Description{Metric: "http.requests", Description: "Requests.", Unit: "{request}", CardinalityLimit: 30})
	s.Describe(store.Description{Metric: "nothing.yet"})
	for i := range 30 {
		s.Add(fmt.Sprintf(`["http.requests",{"service.name":"service-%d"},{"code":%d,"route":"/r/%d"}]`, i%3, 200+i%2*304, i), 100-i)
	}
	s.Add(`["http.requests",{"service.name":"service-0"},{"otel.metric.overflow":true}]`, 1000)
	s.Overflowed("http.requests", `["http.requests",{"service.name":"service-0"},{"route":"/flood"}]`, 900)
	s.Overflowed("http.requests", `["http.requests",{"service.name":"service-0"},{"route":"/little"}]`, 100)
	s.Add("no key of ours", 1)
	return s
}

func totalsPath(parameters ...string) string {
	values := url.Values{"metric": {"http.requests"}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		values.Add(name, value)
	}
	return "/api/v1/totals?" + values.Encode()
}

func TestMetrics(t *testing.T) {
	body := ask[metricsResponse](t, start(t, shop()), "/api/v1/metrics")
	require.Len(t, body.Metrics, 2)
	m := body.Metrics[0]
	assert.Equal(t, metricStatus{"http.requests", "Requests.", "{request}", 30, 30, 1, true}, m.metricStatus)
	assert.ElementsMatch(t, []attributeInfo{
		{"resource.service.name", "service.name", true, 3},
		{"code", "code", false, 2},
		{"route", "route", false, 30},
		{"otel.metric.overflow", "otel.metric.overflow", false, 1},
	}, m.Attributes)
	assert.Equal(t, 30*100-29*30/2+1000, m.Sum.Total)
	assert.Equal(t, metricStatus{Name: "nothing.yet"}, body.Metrics[1].metricStatus)
	assert.Empty(t, body.Metrics[1].Attributes)
	assert.Equal(t, stateOK, body.Status.State)
	assert.Equal(t, 30, body.Status.Keys)
	assert.Equal(t, 1, body.Status.OverflowKeys)
}

func TestTotals(t *testing.T) {
	r := start(t, shop())
	body := ask[totalsResponse](t, r, totalsPath())
	require.Len(t, body.Items, 20)
	assert.Equal(t, 31, body.ItemCount)
	assert.Equal(t, 11, body.Rest.Items)
	shown := 0
	for _, i := range body.Items {
		shown += i.Total
	}
	assert.Equal(t, body.Sum.Total, shown+body.Rest.Total)
	assert.Equal(t, 1, body.Items[0].OverflowKeys)
	assert.Zero(t, body.Items[0].Keys)
	assert.True(t, body.Items[0].Overflow)
	second := body.Items[1]
	assert.Equal(t, `["http.requests",{"service.name":"service-0"},{"code":200,"route":"/r/0"}]`, second.Key)
	assert.Equal(t, []label{
		newLabel("code", false, "200"), newLabel("route", false, `"/r/0"`),
		newLabel("service.name", true, `"service-0"`),
	}, second.Labels)
	assert.WithinDuration(t, time.Now(), *second.First, time.Minute)

	next := ask[totalsResponse](t, r, totalsPath("cursor="+body.Next))
	assert.Len(t, next.Items, 11)
	assert.Empty(t, next.Next)
	assert.Zero(t, next.Rest.Items)
	assert.Less(t, next.Items[0].Total, body.Items[19].Total)

	body = ask[totalsResponse](t, r, totalsPath("where=code=504", "group_by=resource.service.name", "order=key", "limit=2"))
	assert.Equal(t, []label{newLabel("service.name", true, `"service-0"`)}, body.Items[0].Labels)
	assert.Equal(t, 5, body.Items[0].Keys)
	assert.Equal(t, 1, body.Rest.Items)
	assert.Equal(t, []string{"resource.service.name"}, body.GroupBy)

	body = ask[totalsResponse](t, r, totalsPath("group_by=code"))
	assert.Equal(t, []bool{false, false, true}, []bool{body.Items[0].Overflow, body.Items[1].Overflow, body.Items[2].Overflow})
	assert.Empty(t, body.Items[2].Labels[0].Text, "keys without a code")

	body = ask[totalsResponse](t, r, "/api/v1/totals?metric=nothing.yet&where=a=b")
	assert.Empty(t, body.Items)
}

func TestOverflow(t *testing.T) {
	store := shop()
	r := start(t, store)
	body := ask[overflowResponse](t, r, "/api/v1/overflow?metric=http.requests&limit=1")
	assert.True(t, body.Supported)
	assert.True(t, body.Since.Equal(store.Info().Opened))
	require.Len(t, body.Items, 1)
	assert.Equal(t, 900, body.Items[0].Estimate)
	assert.Equal(t, newLabel("route", false, `"/flood"`), body.Items[0].Labels[0])
	assert.Len(t, ask[overflowResponse](t, r, "/api/v1/overflow?metric=http.requests").Items, 2)
	assert.Empty(t, ask[overflowResponse](t, r, "/api/v1/overflow?metric=nothing.yet").Items)
}

// TestOverflowSince: the answer says since when it knows what overflows; a store that was restarted has forgotten.
func TestOverflowSince(t *testing.T) {
	since := func(store store.MetricStore) *time.Time {
		return ask[overflowResponse](t, start(t, store), "/api/v1/overflow?metric=m").Since
	}
	first := memory.New()
	first.Inc(`["m",{},{}]`)
	assert.True(t, since(first).Equal(first.Info().Opened))
	again := memory.New()
	again.Inc(`["m",{},{}]`)
	assert.True(t, since(again).After(*since(first)), "another process")

	before := time.Now()
	assert.False(t, since(struct {
		store.MetricStore
		store.Lister
		capability.OverflowKeeper
	}{first, first, first}).Before(before), "a store that does not say when it was opened: since the console was")
	assert.Nil(t, since(struct {
		store.MetricStore
		store.Lister
	}{first, first}), "a store that does not remember")
}

// TestKeysAreThoseOfTelemetry: whatever the limit and the records, `keys` and `overflow_keys` are the numbers that the
// processor tells.
func TestKeysAreThoseOfTelemetry(t *testing.T) {
	random := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(10, 200) {
		store := newStepped()
		limit := random.IntN(8)
		telemetry := componenttest.NewTelemetry()
		p := limited(t, store.Store, telemetry, limit)
		records := 1 + random.IntN(30)
		for range records {
			count(t, p, 1, fmt.Sprint("/r/", random.IntN(12)), int64(random.IntN(2)))
		}
		require.Eventually(t, func() bool { return sumOf(t, store.Store) == records }, patience, time.Millisecond)
		own := gauge(t, telemetry, "otelcol_processor_tally_keys")
		overflow := gauge(t, telemetry, "otelcol_processor_tally_overflow_keys")
		require.NoError(t, p.Shutdown(t.Context()))
		r := start(t, store)
		status := ask[healthResponse](t, r, "/api/v1/health").Status
		assert.Equal(t, []int{own, overflow}, []int{status.Keys, status.OverflowKeys})
		for _, m := range ask[metricsResponse](t, r, "/api/v1/metrics").Metrics {
			assert.Equal(t, []int{own, overflow}, []int{m.Keys, m.OverflowKeys})
			assert.Equal(t, []int{own, overflow}, []int{m.Sum.Keys, m.Sum.OverflowKeys})
			assert.Equal(t, limit, m.CardinalityLimit)
			assert.True(t, limit == 0 || m.Keys <= limit, "comparable with the limit")
			assert.Equal(t, limit > 0 && m.Keys == limit, m.Full)
		}
	}
}

// limited is a tally processor with a limit that counts into a store.
func limited(t *testing.T, store store.MetricStore, telemetry *componenttest.Telemetry, limit int) processor.Logs {
	t.Helper()
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(store))
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"logs": map[string]any{"m": map[string]any{
		"cardinality_limit": limit, "attributes": []any{map[string]any{"key": "route"}, map[string]any{"key": "code"}},
	}}}).Unmarshal(cfg))
	set := processortest.NewNopSettings(factory.Type())
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	p, err := factory.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host{}))
	return p
}

func sumOf(t *testing.T, store store.Lister) (sum int) {
	t.Helper()
	for total, err := range store.Totals(t.Context()) {
		require.NoError(t, err)
		sum += total.Value
	}
	return sum
}

// gauge returns the sum of a metric of the telemetry.
func gauge(t *testing.T, telemetry *componenttest.Telemetry, name string) int {
	t.Helper()
	m, err := telemetry.GetMetric(name)
	require.NoError(t, err)
	sum := 0
	for _, point := range m.Data.(metricdata.Gauge[int64]).DataPoints {
		sum += int(point.Value)
	}
	return sum
}

// TestAttributesThatAreGone: what only keys had that were dropped is no attribute any more.
func TestAttributesThatAreGone(t *testing.T) {
	store := newStepped()
	store.Add(`["m",{"code":"of the resource"},{"a":1}]`, 1)
	store.Add(`["m",{},{"code":1,"other":2}]`, 2)
	r := start(t, store)
	sum := func() int { return ask[totalsResponse](t, r, "/api/v1/totals?metric=m&where=code~o").Sum.Total }
	assert.Equal(t, 0, sum(), "an attribute goes before one of the resource")
	store.Forget(func(key string) bool { return strings.Contains(key, "other") })
	store.step(t, r)
	assert.Equal(t, 1, sum())
	assert.ElementsMatch(t, []attributeInfo{{"a", "a", false, 1}, {"resource.code", "code", true, 1}},
		ask[metricsResponse](t, r, "/api/v1/metrics").Metrics[0].Attributes)
	assert.ElementsMatch(t, []string{"a", "resource.code"}, refused(t, r, "/api/v1/totals?metric=m&where=other", http.StatusBadRequest).Allowed)
}

func TestBadQuestions(t *testing.T) {
	r := start(t, shop(), func(c *Config) { c.MaxItems = 50 })
	terms := slices.Concat(slices.Repeat([]string{"where=code"}, maxQueryTerms-1), []string{"group_by=code", "group_by=route"})
	for path, tt := range map[string]struct {
		code    int
		allowed string // one of them
	}{
		"/api/v1/totals":                                           {400, "http.requests"},
		"/api/v1/totals?metric=":                                   {400, "nothing.yet"},
		"/api/v1/totals?metric=http":                               {404, "http.requests"},
		"/api/v1/totals?metric=a&metric=b":                         {400, "metric once"},
		"/api/v1/totals?metric=a;b":                                {400, "name=value&name=value, percent-encoded"},
		"/api/v1/totals?metric=%zz":                                {400, "name=value&name=value, percent-encoded"},
		totalsPath("limit=0"):                                      {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("limit=-1"):                                     {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("limit=51"):                                     {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("limit=1000000"):                                {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("limit=ten"):                                    {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("limit="):                                       {400, "a number from 1 to 50 (`max_items`)"},
		totalsPath("order=rate"):                                   {400, "rate_10s"},
		totalsPath("where==x"):                                     {400, ""},
		totalsPath("where=planet=earth"):                           {400, "resource.service.name"},
		totalsPath("group_by=planet"):                              {400, "code"},
		totalsPath("group_by=code", "group_by=code"):               {400, "each attribute once"},
		totalsPath("group_by=code", "group_by=attribute.code"):     {400, "each attribute once"},
		totalsPath("limits=3"):                                     {400, "limit"},
		totalsPath("cursor=yesterday"):                             {400, ""},
		totalsPath("where=a", "where=b", "group_by=c"):             {400, "code"},
		totalsPath(terms...):                                       {400, "at most 16 together"},
		totalsPath("where=" + strings.Repeat("a", maxQueryLength)): {414, "at most 16384 bytes"},
		"/api/v1/live?metric=http":                                 {404, "http.requests"},
		"/api/v1/live?metric=http.requests&limit=0":                {400, ""},
		"/api/v1/overflow?metric=http":                             {404, "http.requests"},
		"/api/v1/overflow?metric=http.requests&limit=0":            {400, ""},
		"/api/v1/overflow?metric=http.requests&order=key":          {400, "limit"},
		"/api/v1/metrics?metric=http":                              {400, ""},
		"/api/v1/health?a=b":                                       {400, ""},
		"/api/v1/nothing":                                          {404, "/api/v1/totals"},
	} {
		p := refused(t, r, path, tt.code)
		assert.True(t, tt.allowed == "" || slices.Contains(p.Allowed, tt.allowed), "%s: %v", path, p)
	}
	store := shop()
	store.Inc(`["",{},{}]`)
	nameless := start(t, store)
	for _, path := range []string{"/api/v1/totals", "/api/v1/live", "/api/v1/overflow"} {
		refused(t, nameless, path, http.StatusBadRequest)
	}
	assert.Equal(t, 1, ask[totalsResponse](t, nameless, "/api/v1/totals?metric=").Sum.Total)
	ask[totalsResponse](t, r, totalsPath(terms[1:]...))
	longest := totalsPath("where=code~")
	longest += strings.Repeat("a", maxQueryLength-len(longest[strings.Index(longest, "?")+1:]))
	ask[totalsResponse](t, r, longest)
	refused(t, r, longest+"a", http.StatusRequestURITooLong)
	assert.Len(t, ask[totalsResponse](t, r, totalsPath("limit=50")).Items, 31)
	assert.Len(t, ask[totalsResponse](t, r, totalsPath("limit=1")).Items, 1)
}

func TestCursorExpires(t *testing.T) {
	r := start(t, shop())
	old := query.Cursor(&query.Position{Tuple: []string{"a"}}, "", time.Now().Add(-cursorLifetime-time.Second))
	gone := refused(t, r, totalsPath("cursor="+old), http.StatusGone)
	assert.Contains(t, gone.Error, "expired")
	assert.Equal(t, []string{"`next` of the page before, to the same query, within 10m0s"}, gone.Allowed)
	other := ask[totalsResponse](t, r, totalsPath("limit=1")).Next
	p := refused(t, r, totalsPath("order=key", "cursor="+other), http.StatusBadRequest)
	assert.Contains(t, p.Error, "another query")
}

// TestStoreIsAway: what was there before is still shown, with its age, and what the store says is told without log
// content.
func TestStoreIsAway(t *testing.T) {
	store := newFragile()
	store.Add(`["m",{},{"a":1}]`, 5)
	store.Add(`["m",{},{"a":2}]`, 7)
	r := start(t, store)
	health := ask[healthResponse](t, r, "/api/v1/health")
	assert.Equal(t, stateOK, health.Status.State)
	assert.Nil(t, health.FailingSince)
	assert.Equal(t, "tally_memory", health.Store)

	store.failAfter(0)
	r.settled(t)
	body := ask[totalsResponse](t, r, "/api/v1/totals?metric=m")
	assert.Equal(t, stateAway, body.Status.State)
	assert.Equal(t, 12, body.Sum.Total)
	assert.Equal(t, `dial tcp: refused, key `, body.Status.Error)
	number, age := body.Status.Number, body.Status.AgeSeconds
	health = ask[healthResponse](t, r, "/api/v1/health")
	assert.NotNil(t, health.FailingSince)
	r.settled(t)
	body = ask[totalsResponse](t, r, "/api/v1/totals?metric=m")
	assert.Equal(t, number, body.Status.Number)
	assert.Greater(t, body.Status.AgeSeconds, age)

	store.failAfter(1)
	r.settled(t)
	assert.Equal(t, statePartial, ask[healthResponse](t, r, "/api/v1/health").Status.State)
	assert.Equal(t, 12, ask[totalsResponse](t, r, "/api/v1/totals?metric=m").Sum.Total)

	store.failAfter(-1)
	store.Inc(`["m",{},{"a":2}]`)
	r.settled(t)
	body = ask[totalsResponse](t, r, "/api/v1/totals?metric=m")
	assert.Equal(t, stateOK, body.Status.State)
	assert.Equal(t, 13, body.Sum.Total)
	assert.Empty(t, body.Status.Error)
}

func TestErrorTextHasNoLogContent(t *testing.T) {
	for text, want := range map[string]string{
		`key "a b" of "c" is bad`:               `key "..." of "..." is bad`,
		`list ["m",{},{"user":"x"}]: WRONGTYPE`: `list `,
		strings.Repeat("é", 300):                strings.Repeat("é", 150) + "...",
	} {
		assert.Equal(t, want, errorText(fmt.Errorf("%s", text)))
	}
	assert.Empty(t, errorText(nil))
}

// A metric that can have one key only is there, at 0, before its first record: in the API, on the page for Prometheus,
// and then as any other.
func TestZeroBeforeTheFirstRecord(t *testing.T) {
	const key = `["errors",{},{}]`
	memory := memory.New()
	memory.Describe(store.Description{Metric: "errors", Key: key})
	r := start(t, memory)
	r.settled(t)
	body := ask[totalsResponse](t, r, "/api/v1/totals?metric=errors")
	require.Len(t, body.Items, 1)
	assert.Zero(t, body.Items[0].Total)
	_, _, page := r.get(t, "/metrics")
	assert.Contains(t, string(page), "\nerrors_total 0\n")
	memory.Add(key, 3)
	r.settled(t)
	body = ask[totalsResponse](t, r, "/api/v1/totals?metric=errors")
	require.Len(t, body.Items, 1)
	assert.Equal(t, 3, body.Items[0].Total)
}
