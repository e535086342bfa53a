// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"bytes"
	"maps"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"pgregory.net/rapid"
)

// collectorPage is a page with the options of the Collector's own.
func collectorPage(t *testing.T) *metricsPage {
	t.Helper()
	return newMetricsPage(t, otelprometheus.WithoutScopeInfo())
}

// scrapers are the ways to ask for a page: as Prometheus 2 does, and as Prometheus 3 does, and how each reads the
// answer.
var scrapers = []struct {
	accept     string
	validation model.ValidationScheme
}{
	{"text/plain;version=0.0.4", model.LegacyValidation},
	{"text/plain;version=1.0.0;escaping=allow-utf-8", model.UTF8Validation},
}

// families returns what a scraper reads, by name of the metric.
func (p *metricsPage) families(t require.TestingT, accept string, validation model.ValidationScheme) map[string]*dto.MetricFamily {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(p.t.Context(), "GET", "/metrics", nil)
	request.Header.Set("Accept", accept)
	promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, request)
	require.Equal(t, 200, recorder.Code, recorder.Body.String()[:min(500, recorder.Body.Len())])
	body := recorder.Body.Bytes()
	parser := expfmt.NewTextParser(validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	require.NoError(t, err, "%s", body)
	return families
}

// hostileNames are names, and texts to make names of, that have something about them that a page could stumble over.
var hostileNames = []string{
	"", "_", "__", "____", "日本", "東京", "é", "1", "9", ":", "a", "A", "b", ".", "-", "/", " ", "\x00", "\n", `"`, "{", "}", "\\", "\u202e", "\u2028", "\x1b",
	"__name__", "__tenant_id__", "le", "quantile", "job", "instance", "exported_job", "processor", "otel_scope_", "otel.scope.name", "otel.metric.overflow",
	"aws:region", "key_", "attribute.", "resource.", "_2", "total", "bytes", "count", "page", "metric", strings.Repeat("x", 300),
}

func hostileName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom(hostileNames),
		rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostileNames), 1, 4).Draw(t, "parts"), "")
		}),
		rapid.StringN(0, 12, 40),
	)
}

// putAny puts a value of any kind.
func putAny(t *rapid.T, m pcommon.Map, name string) {
	v := m.PutEmpty(name)
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		v.SetInt(rapid.SampledFrom([]int64{0, 7, -1, math.MaxInt64, math.MinInt64}).Draw(t, "int"))
	case 1:
		v.SetDouble(rapid.SampledFrom([]float64{0, 7, 0.5, math.NaN(), math.Inf(1), 1e300}).Draw(t, "double"))
	case 2:
		v.SetBool(true)
	case 3:
		v.SetEmptyBytes().FromRaw([]byte{0, 255})
	case 4:
		v.SetEmptyMap().PutStr(name, name)
	case 5:
		v.SetEmptySlice().AppendEmpty().SetStr("7")
	case 6: // empty
	default:
		v.SetStr(rapid.SampledFrom([]string{"", "7", "true", "\xff\x00\n\"\\", "\u202e", strings.Repeat("é", 300)}).Draw(t, "text"))
	}
}

// Whatever names and values arrive, and whatever the metrics are called: both scrapers read the page, no series is
// there twice, and every metric has its sum.
func TestPagesTakeAnyNames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := configOf(rapid.SliceOfN(hostileName(), 1, 4).Draw(rt, "metrics"))
		if err := cfg.Validate(); err != nil {
			rt.Skip(err) // those are refused
		}
		page := collectorPage(t)
		p := page.start(NewFactory(), "tally/x", cfg)
		records := rapid.IntRange(1, 20).Draw(rt, "records")
		for range records {
			ld := plog.NewLogs()
			rl := ld.ResourceLogs().AppendEmpty()
			for _, name := range rapid.SliceOfN(hostileName(), 0, 4).Draw(rt, "names") {
				putAny(rt, rl.Resource().Attributes(), name)
			}
			rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
			require.NoError(t, p.ConsumeLogs(t.Context(), ld))
		}
		settle(t, p)
		for _, s := range scrapers {
			sums := page.sums(rt, s.accept, s.validation)
			require.Len(rt, sums, len(cfg.Logs), "metrics that %s shows: %v", s.accept, sums)
			for name, sum := range sums {
				require.EqualValues(rt, records, sum, "%q for %s", name, s.accept)
			}
		}
	})
}

// configOf returns a configuration with metrics.
func configOf(names []string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Logs = map[string]MetricConfig{}
	for _, name := range names {
		cfg.Logs[name] = MetricConfig{}
	}
	return cfg
}

// sums returns the sum of each metric that is not tally's or the Collector's own, and checks that no series is there
// twice.
func (p *metricsPage) sums(t require.TestingT, accept string, validation model.ValidationScheme) map[string]float64 {
	sums := map[string]float64{}
	for name, family := range p.families(t, accept, validation) {
		if strings.HasPrefix(name, "otelcol_") || name == "target_info" {
			continue
		}
		seen := map[string]bool{}
		for _, m := range family.GetMetric() {
			labels := labelText(m)
			require.False(t, seen[labels], "%s is there twice: %s", name, labels)
			seen[labels] = true
			sums[name] += m.GetCounter().GetValue()
		}
	}
	return sums
}

// Metrics that differ in case alone are two.
func TestCaseTellsMetricsApart(t *testing.T) {
	page := collectorPage(t)
	cfg := testConfig(t, "resource_attributes: []\nlogs: {http.errors: {}, HTTP.Errors: {conditions: ['severity_number > 100']}, HTTP.ERRORS: {}}")
	require.NoError(t, cfg.Validate())
	p := page.start(NewFactory(), "tally", cfg)
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, nil)))
	settle(t, p)
	for _, s := range scrapers {
		assert.ElementsMatch(t, []float64{0, 3, 3}, slices.Collect(maps.Values(page.sums(t, s.accept, s.validation))), s.accept)
	}
}
