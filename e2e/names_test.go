// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor"
)

// oddNames are names of attributes. The exporter shows no point with one of the reserved ones.
var (
	oddNames = []string{
		"plain", "a.b", "a--b", "aws:region", ":", "ec2.tag.aws:autoscaling:groupName", "1a", "2a", "_x", "__x", "x__y", "日本", "é", "\x00", "\u202e", "le", "quantile",
		"job", "instance", "exported_job", "metric", "page", "Plain", strings.Repeat("x", 300), "key_", "resource.a", "key_1b", "U__a_2e_b", "last",
	}
	reservedNames = []string{"", "__name__", "__tenant_id__", "____", "otel.scope.name", "processor"}
)

// exporterAgrees says whether the newest Prometheus exporter makes the same label of a name as the one of v0.161, whose
// rule tally's pages have: since then it keeps underscores that follow each other, puts nothing before a leading one,
// and drops points with names of which nothing but underscores is left.
func exporterAgrees(name string) bool {
	old, err := (&otlptranslator.LabelNamer{UnderscoreLabelSanitization: true}).Build(name) //nolint:staticcheck // what the older one did
	now, refused := (&otlptranslator.LabelNamer{PreserveMultipleUnderscores: true}).Build(name)
	return err == nil && refused == nil && old == now
}

// scrapeFrom returns the labels of each series of a page, by the value of their only label that is v and a number, and
// the names of the metrics that have such series.
func scrapeFrom(t *testing.T, port int, accept string, validation model.ValidationScheme) (labels, metrics map[string]string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", port), nil)
	require.NoError(t, err)
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	parser := expfmt.NewTextParser(validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	require.NoError(t, err)
	labels, metrics = map[string]string{}, map[string]string{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if regexp.MustCompile(`^v\d+$`).MatchString(l.GetValue()) {
					labels[l.GetValue()] = l.GetName()
					metrics[strings.TrimSuffix(name, "_total")] = l.GetValue()
				}
			}
		}
	}
	return labels, metrics
}

// TestNamesAgree: the Collector's telemetry and the console call labels and metrics the same, whatever the attributes
// are called, and the Prometheus exporter as well, but for the names whose rule it has changed.
func TestNamesAgree(t *testing.T) {
	in, console, exporter := freePort(t), freePort(t), freePort(t)
	const metrics = `{2xx.count: {attributes: [{key: "*"}]}, 4xx.count: {attributes: [{key: "*"}]}, été.count: {attributes: [{key: "*"}]}, "a:b": {attributes: [{key: "*"}]}, HTTP.x: {attributes: [{key: "*"}]}, http.x: {attributes: [{key: "*"}]}}`
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  tally: {store: tally_memory, collection_interval: 200ms}
processors:
  tally: {resource_attributes: [], logs: %[4]s}
  tally/stored: {resource_attributes: [], store: tally_memory, logs: %[4]s}
exporters:
  nop:
  prometheus: {endpoint: 127.0.0.1:%[3]d, without_scope_info: true}
extensions:
  tally_memory:
  tally_console: {store: tally_memory, endpoint: 127.0.0.1:%[2]d, sample_interval: 200ms}
service:
  extensions: [tally_memory, tally_console]
  pipelines:
    logs: {receivers: [otlp], processors: [tally, tally/stored], exporters: [nop]}
    metrics: {receivers: [tally], exporters: [prometheus]}
`, in, console, exporter, metrics))
	for i, name := range append(reservedNames, oddNames...) {
		send(t, in, logsWith(name, []string{fmt.Sprint("v", i)}))
	}
	const classic = "text/plain;version=0.0.4"
	all := len(reservedNames) + len(oddNames)
	waitFor(t, "all pages to have the points", func() bool {
		exported, _ := scrapeFrom(t, exporter, classic, model.LegacyValidation)
		shown, _ := scrapeFrom(t, console, classic, model.LegacyValidation)
		_, last := exported[fmt.Sprint("v", all-1)]
		return last && len(shown) == all
	})
	exported, exportedMetrics := scrapeFrom(t, exporter, classic, model.LegacyValidation)
	onConsole, _ := scrapeFrom(t, console, classic, model.LegacyValidation)
	compared := 0
	for name, port := range map[string]int{"telemetry": c.metricsPort, "console": console} {
		shown, shownMetrics := scrapeFrom(t, port, classic, model.LegacyValidation)
		assert.Len(t, shown, all, name)
		for i, odd := range oddNames {
			value := fmt.Sprint("v", len(reservedNames)+i)
			assert.Equal(t, onConsole[value], shown[value], "%q on the %s", odd, name)
			if exporterAgrees(odd) {
				assert.Equal(t, exported[value], shown[value], "%q on the %s", odd, name)
				compared++
			}
		}
		for metric := range exportedMetrics {
			assert.Contains(t, shownMetrics, metric, name)
		}
		assert.Len(t, shownMetrics, len(exportedMetrics), name)
		shown, _ = scrapeFrom(t, port, "text/plain;version=1.0.0;escaping=allow-utf-8", model.UTF8Validation)
		assert.Len(t, shown, all, name)
		assert.Equal(t, "a.b", shown[fmt.Sprint("v", len(reservedNames)+1)], "%s: an ordinary name keeps its dots", name)
	}
	assert.Greater(t, compared, len(oddNames), "of the two pages")
}

// TestNamesOfTheCollector: no metric may be called as one that a page with everything on it has, and all is well with
// one that is called almost so.
func TestNamesOfTheCollector(t *testing.T) {
	in, grpc := freePort(t), freePort(t)
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  otlp/2: {protocols: {http: {endpoint: 127.0.0.1:%d}, grpc: {endpoint: 127.0.0.1:%[3]d}}}
processors:
  tally: {logs: {http.server.requests: {}, rpc.errors: {}, http.server.request.body.size.x: {}, up: {}}}
exporters:
  otlp_grpc: {endpoint: 127.0.0.1:%[3]d, tls: {insecure: true}}
  otlp_http: {endpoint: "http://127.0.0.1:%[2]d"}
  nop:
service:
  telemetry: {metrics: {level: detailed}}
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [otlp_grpc, otlp_http]}
    logs/2: {receivers: [otlp/2], exporters: [nop]}
`, in, freePort(t), grpc))
	send(t, in, logsWith("user", []string{"ann"}))
	c.waitSettled(t, "tally", 1)
	waitFor(t, "the instruments of gRPC", func() bool {
		body, err := c.page()
		require.NoError(t, err)
		return bytes.Contains(body, []byte("# TYPE rpc_")) && bytes.Contains(body, []byte("# TYPE http_client_"))
	})
	body, err := c.page()
	require.NoError(t, err)
	found := 0
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(string(body), -1) {
		if strings.HasPrefix(match[1], "otelcol_") {
			continue
		}
		cfg := tallyprocessor.NewFactory().CreateDefaultConfig().(*tallyprocessor.Config)
		cfg.Logs = map[string]tallyprocessor.MetricConfig{match[1]: {}}
		switch match[1] {
		case "http_server_requests", "rpc_errors", "http_server_request_body_size_x", "up":
			assert.NoError(t, cfg.Validate())
			found++
		default:
			assert.ErrorContains(t, cfg.Validate(), "is reserved", match[1])
			cfg.Logs = map[string]tallyprocessor.MetricConfig{strings.ReplaceAll(match[1], "_", ".") + ".count": {}}
			if match[2] == "histogram" {
				assert.ErrorContains(t, cfg.Validate(), "is reserved", match[1])
			}
		}
	}
	assert.Equal(t, 4, found)
}

// TestPipelineTelemetry: with the feature gate that names pipelines, the telemetry of a processor that is in two of
// them names neither.
func TestPipelineTelemetry(t *testing.T) {
	ports, scopes := []int{freePort(t), freePort(t)}, freePort(t)
	reader := fmt.Sprintf("        - pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d, without_scope_info: false, without_units: true, without_type_suffix: true}}}\n", scopes)
	c := startCollector(t, reader, fmt.Sprintf(`
receivers:
  otlp/a: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  otlp/b: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {resource_attributes: []}
exporters:
  nop:
service:
  pipelines:
    logs/a: {receivers: [otlp/a], processors: [tally], exporters: [nop]}
    logs/b: {receivers: [otlp/b], processors: [tally], exporters: [nop]}
`, ports[0], ports[1]), "--feature-gates=telemetry.newPipelineTelemetry")
	c.metricsPort = scopes // without the scopes, the Collector's own metrics are there twice and the page fails
	for _, port := range ports {
		send(t, port, logsWith("user", []string{"ann"}))
	}
	c.waitSettled(t, "tally", 2)
	body, err := c.page()
	require.NoError(t, err)
	found := 0
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "log_record_count") || strings.HasPrefix(line, "otelcol_processor_tally_") {
			assert.NotContains(t, line, "pipeline")
			found++
		}
	}
	assert.Greater(t, found, 20)
	assert.Contains(t, string(body), "otel_scope_otelcol_pipeline_id") // of others: the gate is on
}
