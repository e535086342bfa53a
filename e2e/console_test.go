// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/needs"
)

// TestConsole: the quickstart's console answers what awk counts, promtool takes its page, and a real Prometheus scrapes
// it.
func TestConsole(t *testing.T) {
	port := freePort(t)
	want := count(t, "wc -l < "+nginxPath) + count(t, "LC_ALL=C grep -c '^[0-9]\\{4\\}-' "+postgresqlPath)
	startCollector(t, "", quickstartPath, fmt.Sprintf(`
receivers:
  otlp:
    protocols:
      grpc: {endpoint: 127.0.0.1:%d}
      http: {endpoint: 127.0.0.1:%d}
extensions:
  tally_console: {endpoint: "127.0.0.1:%d", sample_interval: 100ms}
`, freePort(t), freePort(t), port))
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	var answer struct {
		Sum struct{ Total float64 }
	}
	waitFor(t, "the console to have counted all", func() bool {
		response, err := client.Get(address + "/api/v1/totals?metric=log.record.count&group_by=resource.service.name")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return false // the metric is not described yet
		}
		require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
		return answer.Sum.Total == want
	})
	text := command(t, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; printf 'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3", port))
	_, page, found := strings.Cut(text, "\r\n\r\n")
	require.True(t, found)
	lint := exec.CommandContext(t.Context(), needs.Program(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(page)
	out, err := lint.CombinedOutput()
	require.NoError(t, err, "%s", out)

	prom := startPrometheusWith(t, fmt.Sprintf("scrape_configs: [{job_name: tally, scrape_interval: 200ms, static_configs: [{targets: ['127.0.0.1:%d']}]}]\n", port))
	waitFor(t, "Prometheus to have scraped all", func() bool {
		now := float64(time.Now().UnixMilli()) / 1000
		return prom.query(t, "sum(log_record_count_total)", "", now)[""] == want
	})
	now := float64(time.Now().UnixMilli()) / 1000
	assert.Equal(t, 1., prom.query(t, "tally_console_store_up", "", now)[""])
	assert.Len(t, prom.query(t, "sum by (service_name) (log_record_count_total)", "service_name", now), 2)
}

// startPrometheusWith starts a Prometheus with a configuration.
func startPrometheusWith(t *testing.T, config string) *prometheus {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	return runPrometheus(t, path)
}
