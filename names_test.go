// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
)

func TestOneNameInPrometheus(t *testing.T) {
	for yaml, want := range map[string]string{
		`{http.requests: {}, http_requests_total: {}}`:       "`logs::http_requests_total`: the metric is called http_requests_total in Prometheus, as `logs::http.requests` is",
		`{log.size: {unit: By}, log.size.bytes: {}}`:         "log_size_bytes_total",
		`{a b: {}, a_b: {}}`:                                 "is called a_b in Prometheus",
		`{a.: {}, a: {}}`:                                    "is called a in Prometheus",
		`{日本: {}, 東京: {}}`:                                   "is called total in Prometheus",
		`{2xx.count: {}, 4xx.count: {}, 5xx.count: {}}`:      "",
		`{http.errors: {}, HTTP.Errors: {}}`:                 "",
		`{log.size: {unit: By}, log.size.count: {unit: ""}}`: "",
	} {
		for _, store := range []string{"", "store: tally_memory\n"} {
			_, err := readConfig(t, store+"logs: "+yaml)
			switch {
			case want != "":
				require.ErrorContains(t, err, want, yaml)
			default:
				require.NoError(t, err, yaml)
			}
		}
	}
}

// A name of which Prometheus has nothing is for a store alone.
func TestNameWithoutLetters(t *testing.T) {
	for _, name := range []string{"日本", "é", "...", "?"} {
		cfg := configOf([]string{name})
		err := cfg.Validate()
		require.ErrorContains(t, err, "`logs::"+name+"`: name of a metric: it has no name in Prometheus")
		cfg.Store = new(component.ID)
		require.NoError(t, cfg.Validate())
	}
}

// What Prometheus could not tell apart is refused, and nothing else: on each kind of page the names that stay are
// different.
func TestNamesOfAcceptedMetrics(t *testing.T) {
	parts := rapid.SampledFrom([]string{"a", "b", "A", ".", "_", "__", "é", "1", ":", "total", "_total", "bytes", "By", "2xx"})
	names := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(parts, 1, 4).Draw(t, "parts"), "") })
	rapid.Check(t, func(t *rapid.T) {
		cfg := configOf(rapid.SliceOfNDistinct(names, 2, 2, func(s string) string { return s }).Draw(t, "names"))
		for name := range cfg.Logs {
			cfg.Logs[name] = MetricConfig{Unit: rapid.SampledFrom([]string{"", "By", "{x}", "1", "s"}).Draw(t, "unit")}
		}
		cfg.Store = new(component.ID)
		m := cfg.metrics()
		one, other := labels.Forms(m[0].name, m[0].Unit), labels.Forms(m[1].name, m[1].Unit)
		same := one[0] == other[0] && one[0] != "" || one[1] == other[1] || one[2] == other[2] && one[2] != ""
		err := cfg.Validate()
		require.Equal(t, same, err != nil, "%v %v %v", one, other, err)
		if err != nil {
			require.ErrorContains(t, err, m[0].name)
			require.ErrorContains(t, err, m[1].name)
		}
	})
}

// Names near those of the Collector's own instruments are either refused, or the page has both and is whole.
func TestNamesBesideTheCollectorsOwn(t *testing.T) {
	separators := rapid.SampledFrom([]string{".", "_", "-", " "})
	suffixes := rapid.SampledFrom([]string{"", "count", "sum", "bucket", "total", "errors", "bytes", "bytes.count", "seconds", "x", "bytes.total"})
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.SampledFrom(selfmetrics.InstrumentNames()).Draw(rt, "instrument")
		name := strings.ReplaceAll(i, ".", separators.Draw(rt, "separator"))
		if suffix := suffixes.Draw(rt, "suffix"); suffix != "" {
			name += separators.Draw(rt, "separator") + suffix
		}
		cfg := configOf([]string{name})
		err := cfg.Validate()
		if strings.EqualFold(name, i) { // the SDK would log it
			require.ErrorContains(rt, err, "is reserved")
			return
		}
		page := collectorPage(t)
		meter := page.provider.Meter("otelhttp")
		histogram, herr := meter.Int64Histogram(i)
		require.NoError(rt, herr)
		histogram.Record(t.Context(), 1)
		p := page.start(NewFactory(), "tally", cfg)
		require.NoError(rt, p.ConsumeLogs(t.Context(), logs(1, nil)))
		settle(t, p)
		if page.isWhole() {
			if strings.HasSuffix(name, "errors") || strings.HasSuffix(name, "x") {
				require.NoError(rt, err)
			}
			return
		}
		require.ErrorContains(rt, err, "is reserved")
		require.ErrorContains(rt, err, "add a prefix")
	})
	for _, name := range []string{"otelcol.x", "otelcol_x", "target.info", "promhttp.x", "otel.sdk.x", "otel.scope.info"} {
		require.ErrorContains(t, configOf([]string{name}).Validate(), "is reserved", name)
	}
	assert.NoError(t, configOf([]string{"http.server.errors", "rpc.errors", "otel.x", "up", "otelcol"}).Validate())
}

// isWhole says whether scrapers get a page on which no two metrics share the name of a sample.
func (p *metricsPage) isWhole() bool {
	for _, s := range scrapers {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(p.t.Context(), "GET", "/metrics", nil)
		request.Header.Set("Accept", s.accept)
		promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, request)
		if recorder.Code != 200 {
			return false
		}
		owners, family := map[string]string{}, ""
		for line := range strings.Lines(recorder.Body.String()) {
			if name, isType := strings.CutPrefix(line, "# TYPE "); isType {
				family = name
			}
			if strings.HasPrefix(line, "#") {
				continue
			}
			name := line[:strings.IndexAny(line, ",{} ")+1]
			if strings.HasPrefix(line, "{") { // a quoted name
				name = line[:strings.IndexAny(line, ",}")]
			}
			if owner, owned := owners[name]; owned && owner != family {
				return false
			}
			owners[name] = family
		}
	}
	return true
}
