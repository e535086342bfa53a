// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/shown"
)

// page is the Collector's /metrics, with the same exporter and the same handler as the Collector's, which answers with
// status 500 as soon as one series is wrong.
type metricsPage struct {
	t        testing.TB
	provider *metric.MeterProvider
	registry *prometheus.Registry
}

func newMetricsPage(t testing.TB, options ...otelprometheus.Option) *metricsPage {
	t.Helper()
	registry := prometheus.NewRegistry()
	options = append(options, otelprometheus.WithRegisterer(registry), otelprometheus.WithTranslationStrategy(otlptranslator.NoTranslation))
	exporter, err := otelprometheus.New(options...)
	require.NoError(t, err)
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	t.Cleanup(func() { require.NoError(t, provider.Shutdown(context.Background())) })
	return &metricsPage{t: t, provider: provider, registry: registry}
}

// start starts a processor that tells its telemetry to the page.
func (p *metricsPage) start(factory processor.Factory, id string, cfg component.Config) processor.Logs {
	p.t.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	require.NoError(p.t, set.ID.UnmarshalText([]byte(id)))
	set.MeterProvider = p.provider
	made, err := factory.CreateLogs(p.t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(p.t, err)
	require.NoError(p.t, made.Start(p.t.Context(), componenttest.NewNopHost()))
	p.t.Cleanup(func() { require.NoError(p.t, made.Shutdown(context.Background())) })
	return made
}

// scrape returns the series of one metric: value by labels, in the order of their names.
func (p *metricsPage) scrape(name string) map[string]float64 {
	p.t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequestWithContext(p.t.Context(), "GET", "/metrics", nil))
	require.Equal(p.t, 200, recorder.Code, recorder.Body.String()[:min(500, recorder.Body.Len())])
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(recorder.Body)
	require.NoError(p.t, err)
	series := map[string]float64{}
	for _, m := range families[name].GetMetric() {
		labels := labelText(m)
		_, twice := series[labels]
		require.False(p.t, twice, labels)
		series[labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return series
}

func labelText(m *dto.Metric) string {
	var parts []string
	for _, l := range m.GetLabel() {
		if !strings.HasPrefix(l.GetName(), "otel_scope") {
			parts = append(parts, l.GetName()+"="+l.GetValue())
		}
	}
	return strings.Join(parts, ",")
}

// settle waits until what was accepted is applied, and on the page.
func settle(t *testing.T, p processor.Logs) {
	t.Helper()
	e := p.(*logsProcessor).engine
	require.Eventually(t, func() bool {
		for i := range e.metrics {
			if e.book.Read(i).Pending > 0 {
				return false
			}
		}
		return true
	}, 10e9, 1e6)
	if e.exhibit.Totals != nil {
		require.NoError(t, e.exhibit.Totals.Wait(t.Context()))
	}
}

// One id in three pipelines, and another processor with the same metric name and another description: right totals, and
// no collection error. With the names of the scopes on the page as well as without.
func TestTotalsOfSeveralProcessors(t *testing.T) {
	for name, options := range map[string][]otelprometheus.Option{"with scope info": nil, "as the Collector does": {otelprometheus.WithoutScopeInfo()}} {
		t.Run(name, func(t *testing.T) {
			page := newMetricsPage(t, options...)
			factory := NewFactory()
			shared := createDefaultConfig()
			for range 3 {
				p := page.start(factory, "tally", shared)
				require.NoError(t, p.ConsumeLogs(t.Context(), logs(2, nil)))
				settle(t, p)
			}
			other := testConfig(t, `logs: {log.record.count: {}}`) // without a description
			p := page.start(factory, "tally/other", other)
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(5, nil)))
			settle(t, p)
			assert.Equal(t, map[string]float64{"processor=tally,service_name=checkout": 6, "processor=tally/other,service_name=checkout": 5}, page.scrape("log_record_count"))
			assert.Equal(t, map[string]float64{"processor=tally": 6, "processor=tally/other": 5}, page.scrape("otelcol_processor_tally_records_received"))
		})
	}
}

// The SDK's own cardinality limit, 2000 by default, must not cut a second time.
func TestTheSDKDoesNotCutAgain(t *testing.T) {
	page := newMetricsPage(t, otelprometheus.WithoutScopeInfo())
	p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
logs: {c: {attributes: [{key: i}], cardinality_limit: 4500}, d: {attributes: [{key: i}], cardinality_limit: 0}}`))
	for from := 0; from < 6000; from += 1500 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(1500, func(i int, r plog.LogRecord) { r.Attributes().PutInt("i", int64(from+i)) })))
		settle(t, p)
		page.scrape("c")
	}
	limited := page.scrape("c")
	assert.Len(t, limited, 4501)
	assert.EqualValues(t, 1500, limited["otel_metric_overflow=true,processor=tally"])
	assert.EqualValues(t, 1, limited["i=4499,processor=tally"])
	unlimited := page.scrape("d")
	assert.Len(t, unlimited, 6000)
	for labels, value := range unlimited {
		assert.EqualValues(t, 1, value, labels)
	}
}

// Whatever names and values arrive as resource attributes, the page stays whole and the sum right.
func TestHostileLabels(t *testing.T) {
	page := newMetricsPage(t)
	p := page.start(NewFactory(), "tally", createDefaultConfig())
	names := []string{
		"", "_", "__", "__name__", "日本", "東京", "a.b", "a_b", "a-b", "1", "key_1", "processor", "PROCESSOR", "le", "quantile", "job", "instance",
		"otel.scope.name", "otel_scope_version", "otel.metric.overflow", "x\x00y", "x\xffy", "x\ny", `x"y`, "resource.a_b", "resource.processor", " ",
	}
	want := 0
	consume := func(resource map[string]any) {
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		require.NoError(t, rl.Resource().Attributes().FromRaw(resource))
		rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		require.NoError(t, p.ConsumeLogs(t.Context(), ld))
		want++
	}
	all := map[string]any{}
	for i, name := range names {
		all[name] = i
		consume(map[string]any{name: "v"})
		consume(map[string]any{name: ""})
		consume(map[string]any{name: "\xff\x00\n\"\\"})
		consume(map[string]any{name: 200, "r": true})
		consume(map[string]any{name: "200", "r": "true"}) // the same labels as the one before
		for _, other := range names[:i] {
			consume(map[string]any{name: "v", other: "w"})
			consume(map[string]any{name: "w", other: "v"})
		}
	}
	consume(all)
	settle(t, p)
	sum := 0.0
	for _, value := range page.scrape("log_record_count") {
		sum += value
	}
	assert.EqualValues(t, want, sum)
}

// Totals of an injected store are not published: whoever injects it reads it.
// The series of a forgotten key ends, its place on a page is used again, and the balance stays visible.
func TestForgottenKeysAreNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := newMetricsPage(t, otelprometheus.WithoutScopeInfo())
		p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
forget_after: 1h
logs: {c: {attributes: [{key: i}], cardinality_limit: 2500}}`))
		for day := range 5 { // 2400 keys of the day, 100 that live
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(2500, func(i int, r plog.LogRecord) {
				if i >= 100 {
					i += 2400 * day
				}
				r.Attributes().PutInt("i", int64(i))
			})))
			settle(t, p)
			shown := page.scrape("c")
			assert.Len(t, shown, 2500, "day %d", day)
			assert.EqualValues(t, 2*day+1, shown["i=99,processor=tally"])
			assert.EqualValues(t, 1, shown[fmt.Sprintf("i=%d,processor=tally", 2499+2400*day)])
			time.Sleep(50 * time.Minute)
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(100, func(i int, r plog.LogRecord) { r.Attributes().PutInt("i", int64(i)) })))
			time.Sleep(20 * time.Minute)
			assert.Len(t, page.scrape("c"), 100, "day %d", day)
			assert.EqualValues(t, 2400*(day+1), page.scrape("otelcol_processor_tally_sum_forgotten")["metric=c,processor=tally"])
		}
		assert.EqualValues(t, 5*2600, page.scrape("otelcol_processor_tally_sum_counted")["metric=c,processor=tally"])
		assert.LessOrEqual(t, p.(*logsProcessor).exhibit.Totals.Pages(), 4, "pages are used again")
	})
}

func TestInjectedStoreIsNotPublished(t *testing.T) {
	page := newMetricsPage(t)
	p := page.start(NewFactory(WithMetricStore(NewMemoryStore())), "tally", createDefaultConfig())
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(5, nil)))
	settle(t, p)
	assert.Empty(t, page.scrape("log_record_count"))
	assert.NotEmpty(t, page.scrape("otelcol_processor_tally_records_counted"))
}

// The Collector pushes its metrics a last time after Shutdown, so the totals stay until a new processor of the same id
// takes their place and starts from zero.
func TestTotalsEndWithTheProcessor(t *testing.T) {
	page := newMetricsPage(t)
	factory := NewFactory()
	for i := range 3 {
		p := page.start(factory, "tally", createDefaultConfig())
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(i+1, nil)))
		settle(t, p)
		assert.Equal(t, map[string]float64{"processor=tally,service_name=checkout": float64(i + 1)}, page.scrape("log_record_count"))
		require.NoError(t, p.Shutdown(t.Context()))
		assert.Equal(t, map[string]float64{"processor=tally,service_name=checkout": float64(i + 1)}, page.scrape("log_record_count"))
		assert.Equal(t, map[string]float64{"processor=tally": float64(i + 1)}, page.scrape("otelcol_processor_tally_records_received"))
	}
}

// Scrapes while keys come and go through every path: for the race detector, and for deadlocks with the SDK's locks.
func TestScrapesWhileCounting(t *testing.T) {
	page := newMetricsPage(t)
	p := page.start(NewFactory(), "tally", testConfig(t, `logs: {c: {attributes: [{key: i}]}}`))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 60 {
			assert.NoError(t, p.ConsumeLogs(context.Background(), logs(100, func(i int, r plog.LogRecord) {
				r.Attributes().PutStr("i", fmt.Sprint(n*100+i))
			})))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		page.scrape("c")
	}
	settle(t, p)
	assert.Len(t, page.scrape("c"), 6000)
}

// Keys that are one series in Prometheus stay at the largest number together, as each of them does.
func TestSumsOnPagesSaturate(t *testing.T) {
	page := collectorPage(t)
	p := page.start(NewFactory(), "tally", testConfig(t, `{resource_attributes: [], logs: {m: {attributes: [{key: k}], sum: 'attributes["n"]'}}}`))
	for i := range 5 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(2, func(j int, r plog.LogRecord) {
			r.Attributes().PutInt("n", math.MaxInt64/int64(1+i%2))
			r.Attributes().PutInt("k", 7)
			if j == 0 {
				r.Attributes().PutStr("k", "7")
			}
		})))
		settle(t, p)
		if i > 0 {
			assert.Equal(t, map[string]float64{"k=7,processor=tally": shown.Largest}, page.scrape("m"))
			assert.EqualValues(t, shown.Largest, page.scrape("otelcol_processor_tally_sum_counted")["metric=m,processor=tally"])
		}
	}
}

// A metric that has one key only is at 0 from the start, and counted and forgotten as any other.
func TestKnownSeriesBeginAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := collectorPage(t)
		p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
forget_after: 1h
logs: {one: {cardinality_limit: 1}, none: {conditions: ['false']}, by: {attributes: [{key: k, optional: true}]}}`))
		keys := func() float64 { return page.scrape("otelcol_processor_tally_keys")["metric=one,processor=tally"] }
		zero := map[string]float64{"processor=tally": 0}
		assert.Equal(t, []any{zero, zero, map[string]float64{}}, []any{page.scrape("one"), page.scrape("none"), page.scrape("by")})
		for range 2 {
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, nil)))
			settle(t, p)
			assert.Equal(t, []any{map[string]float64{"processor=tally": 3}, zero}, []any{page.scrape("one"), page.scrape("none")})
			assert.EqualValues(t, 1, keys())
			time.Sleep(2 * time.Hour)
			assert.Empty(t, page.scrape("one"))
			assert.Zero(t, keys())
		}
	})
}

// With all resource attributes, or some, nobody knows the keys beforehand.
func TestUnknownSeriesDoNotBegin(t *testing.T) {
	for _, yaml := range []string{`{}`, `resource_attributes: [service.name]`, `{resource_attributes: [], key_length_limit: 5}`} {
		page := collectorPage(t)
		page.start(NewFactory(), "tally", testConfig(t, yaml))
		assert.Empty(t, page.scrape("log_record_count"), yaml)
	}
	page := newMetricsPage(t)
	p := page.start(NewFactory(WithMetricStore(NewMemoryStore())), "tally", testConfig(t, `resource_attributes: []`))
	assert.Empty(t, page.scrape("log_record_count"))
	require.NoError(t, p.Shutdown(context.Background()))
}
