// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole"
)

// seriesByLabels is what a page shows: the sum by metric and labels, sorted, which are written as {name="value",...}.
type seriesByLabels map[string]float64

// readByPrometheus reads a page as Prometheus' own parser does. A series that is there twice, or a name that the client
// has not asked for, fails.
func readByPrometheus(t *testing.T, body []byte, contentType string, scheme model.ValidationScheme) seriesByLabels {
	t.Helper()
	p, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	all := seriesByLabels{}
	for {
		entry, err := p.Next()
		if err == io.EOF { //nolint:errorlint // as the parser's doc has it
			return all
		}
		require.NoError(t, err, "%s", body)
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		name := l.Get(model.MetricNameLabel)
		require.True(t, scheme.IsValidMetricName(name), name)
		l.Range(func(l labels.Label) { require.True(t, scheme.IsValidLabelName(l.Name), "%q", l.Name) })
		if strings.HasPrefix(name, "otelcol_") || strings.HasPrefix(name, "promhttp_") || strings.HasPrefix(name, "tally_console_") || name == "target_info" {
			continue
		}
		key := l.String()
		require.NotContains(t, all, key, "%s", body)
		_, _, all[key] = p.Series()
	}
}

// scrapers are how Prometheus 2 and Prometheus 3 ask.
var scrapers = map[string]model.ValidationScheme{
	"text/plain;version=0.0.4":                      model.LegacyValidation,
	"text/plain;version=1.0.0;escaping=allow-utf-8": model.UTF8Validation,
}

func get(t *testing.T, url, accept string, scheme model.ValidationScheme) seriesByLabels {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	return readByPrometheus(t, body, response.Header.Get("Content-Type"), scheme)
}

// startPage starts a processor whose totals are on a page that is made as the Collector makes its own.
func startPage(t *testing.T, cfg *tallyprocessor.Config) (consume func(plog.Logs), url string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.NoTranslation))
	require.NoError(t, err)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	t.Cleanup(server.Close)
	return startProcessor(t, tallyprocessor.NewFactory(), cfg, metric.NewMeterProvider(metric.WithReader(exporter))), server.URL
}

func startProcessor(t *testing.T, factory processor.Factory, cfg *tallyprocessor.Config, provider *metric.MeterProvider) func(plog.Logs) {
	t.Helper()
	set := processortest.NewNopSettings(factory.Type())
	set.ID = component.NewID(factory.Type())
	set.MeterProvider = provider
	p, err := factory.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
	return func(ld plog.Logs) { require.NoError(t, p.ConsumeLogs(t.Context(), ld)) }
}

// storeOf is an extension that has a store, and a host that has it.
type storeOf struct {
	component.StartFunc
	component.ShutdownFunc
	*tallyprocessor.MemoryStore
}

func (s storeOf) MetricStore() store.MetricStore { return s.MemoryStore }

func (s storeOf) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("tally_memory"): s}
}

// startConsole starts a console over a store.
func startConsole(t *testing.T, store *tallyprocessor.MemoryStore) (url string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	factory := tallyconsole.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyconsole.Config)
	cfg.Store, cfg.Server.NetAddr.Endpoint, cfg.SampleInterval = component.MustNewID("tally_memory"), address, 10*time.Millisecond
	console, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, console.Start(t.Context(), storeOf{MemoryStore: store}))
	t.Cleanup(func() { require.NoError(t, console.Shutdown(context.Background())) })
	return "http://" + address + "/metrics"
}

// oddMetrics are metrics, and what the Prometheus exporter calls them without and with suffixes.
var oddMetrics = map[string]struct{ unit, plain, total string }{
	"2xx.count":  {"", "_2xx_count", "_2xx_count_total"},
	"4xx.count":  {"", "_4xx_count", "_4xx_count_total"},
	"été.count":  {"", "t_count", "t_count_total"},
	"bytes.seen": {"By", "bytes_seen", "bytes_seen_total"},
	"log.size":   {"By", "log_size", "log_size_bytes_total"},
	"1st":        {"1", "_1st", "_1st_total"},
	"a:b":        {"", "a:b", "a:b_total"},
	"http.x":     {"", "http_x", "http_x_total"},
	"HTTP.x":     {"", "HTTP_x", "HTTP_x_total"},
}

// oddParts make odd names.
var oddParts = []string{
	"a", "b", "A", "1", "9", "_", "__", ".", ":", "-", " ", "é", "日本", "\x00", "\u202e", "\n", `"`, "{", "le", "quantile", "job", "instance", "exported_", "resource.", "\\", "\u2028", "\x1b", "\t", "}", ",", "#", strings.Repeat("x", 100),
}

// labelNamer is the Prometheus exporter's with its default settings.
var labelNamer = otlptranslator.LabelNamer{UnderscoreLabelSanitization: true} //nolint:staticcheck // it is what the exporter does

// oddAttributes returns attributes of any names and kinds that the exporter can show, and the labels that it makes of
// them.
func oddAttributes(t *testing.T, r *rand.Rand, to pcommon.Map) map[string]string {
	shown := map[string]string{}
	for range r.IntN(5) {
		name := ""
		for range 1 + r.IntN(4) {
			name += oddParts[r.IntN(len(oddParts))]
		}
		label, err := labelNamer.Build(name)
		if _, taken := shown[label]; err != nil || taken || strings.HasPrefix(label, "__") || label == "processor" || len(name) > 256 {
			continue // those have a rule of their own; longer names are cut
		}
		shown[label] = ""
		values := []any{"", "x", "\u202e\n\"", "\x00\x1b\\", 7, "7", -1, true, "true", 0.5, []byte{0, 255}, map[string]any{"a": 1}, []any{"x", 1}, nil}
		v := to.PutEmpty(name)
		require.NoError(t, v.FromRaw(values[r.IntN(len(values))]))
		shown[label] = v.AsString()
	}
	maps.DeleteFunc(shown, func(_, value string) bool { return value == "" })
	return shown
}

// TestPagesAgainstANaiveEvaluator: any names and values, through the processor, onto the Collector's telemetry and onto
// the console's page. Prometheus' own parser reads both in both ways, and each series is what counting by hand gives.
func TestPagesAgainstANaiveEvaluator(t *testing.T) {
	rounds := 3
	if evidence.Long() {
		rounds = 300
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { pagesAgainstANaiveEvaluator(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func pagesAgainstANaiveEvaluator(t *testing.T, r *rand.Rand) {
	cfg := tallyprocessor.NewFactory().CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.KeyLengthLimit = 0
	cfg.ResourceAttributes, cfg.Logs = []string{}, map[string]tallyprocessor.MetricConfig{}
	for name, m := range oddMetrics {
		cfg.Logs[name] = tallyprocessor.MetricConfig{Unit: m.unit, Attributes: []tallyprocessor.AttributeConfig{{Key: "*"}}}
	}
	require.NoError(t, cfg.Validate())
	stored := *cfg
	kept := tallyprocessor.NewMemoryStore()
	onPage, pageURL := startPage(t, cfg)
	inStore := startProcessor(t, tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(kept)), &stored, metric.NewMeterProvider())
	for name, m := range oddMetrics {
		kept.Describe(store.Description{Metric: name, Unit: m.unit})
	}
	page, console := seriesByLabels{}, seriesByLabels{}
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range 200 {
		shown := oddAttributes(t, r, records.AppendEmpty().Attributes())
		for _, m := range oddMetrics {
			shown[model.MetricNameLabel] = m.total
			console[labels.FromMap(shown).String()]++
			withProcessor := maps.Clone(shown)
			withProcessor[model.MetricNameLabel], withProcessor["processor"] = m.plain, "tally"
			page[labels.FromMap(withProcessor).String()]++
		}
	}
	onPage(ld)
	inStore(ld)
	consoleURL := startConsole(t, kept)
	for accept, scheme := range scrapers {
		requireSeries(t, pageURL, accept, scheme, page)
		requireSeries(t, consoleURL, accept, scheme, console)
	}
}

// requireSeries waits for a page to have the series; where any names are allowed, only their sums are compared.
func requireSeries(t *testing.T, url, accept string, scheme model.ValidationScheme, want seriesByLabels) {
	t.Helper()
	sums := func(s seriesByLabels) []float64 { return slices.Sorted(maps.Values(s)) }
	var got seriesByLabels
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = get(t, url, accept, scheme); slices.Equal(sums(got), sums(want)) {
			break
		}
	}
	require.True(t, slices.Equal(sums(want), sums(got)), "%d series of %d at %s", len(got), len(want), url)
	if scheme == model.LegacyValidation {
		for series, value := range want {
			require.Equal(t, value, got[series], "%s at %s", series, url)
		}
	}
}
