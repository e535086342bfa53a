// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What awk makes of the bundled logs. nginx writes `"` in a request as \x22, so fields between quotes are whole. In
// PostgreSQL's, the level is the fifth word, or the sixth behind user@database.
const (
	nginxRequests = `awk -F'"' '{
		split($2, request, " "); split($3, answer, " ")
		print ($2 ~ /^[A-Z]+ /) ? request[1] : "none", answer[1]
	}' ` + nginxPath
	nginxErrors = `awk -F'"' '$3 ~ /^ 5/ { print "nginx" }' ` + nginxPath

	postgresqlLevels = `awk '/^[0-9][0-9][0-9][0-9]-/ {
		level = ($5 ~ /:$/) ? $5 : $6
		sub(/:$/, "", level)
		print level
	}' ` + postgresqlPath
	postgresqlErrors = postgresqlLevels + ` | awk '/^(ERROR|FATAL|PANIC)$/ { print "postgresql" }'`
)

func TestBundledLogs(t *testing.T) {
	records := page{
		series("log_record_count", "processor", "tally", "service_name", "nginx"):      count(t, "wc -l < "+nginxPath),
		series("log_record_count", "processor", "tally", "service_name", "postgresql"): count(t, "LC_ALL=C grep -c '^[0-9]\\{4\\}-' "+postgresqlPath),
	}
	c := startCollector(t, "", quickstartPath, fmt.Sprintf(`
receivers:
  otlp:
    protocols:
      grpc: {endpoint: 127.0.0.1:%d}
      http: {endpoint: 127.0.0.1:%d}
extensions:
  tally_console: {endpoint: "127.0.0.1:%d"}
processors:
  tally: {store: null} # a private store, whose totals are on the Collector's telemetry
`, freePort(t), freePort(t), freePort(t)))
	shown := c.waitSettled(t, "tally", records.sum())

	require.Equal(t, records, shown.of("log_record_count"))
	require.Equal(t, tallied(t, nginxRequests, func(words []string) string {
		return series("http_requests", "processor", "tally", "service_name", "nginx",
			"http_request_method", words[0], "http_response_status_code", words[1])
	}), shown.of("http_requests"))
	require.Equal(t, tallied(t, postgresqlLevels, func(words []string) string {
		return series("postgresql_entries", "processor", "tally", "service_name", "postgresql", "level", words[0])
	}), shown.of("postgresql_entries"))
	require.Equal(t, tallied(t, "{ "+nginxErrors+"; "+postgresqlErrors+"; }", func(words []string) string {
		return series("log_errors", "processor", "tally", "service_name", words[0])
	}), shown.of("log_errors"))
	requireLedger(t, shown, "tally", "log.record.count", "log.errors", "http.requests", "postgresql.entries")
	t.Logf("%d records; series: %d http_requests, %d postgresql_entries, %v", records.sum(),
		len(shown.of("http_requests")), len(shown.of("postgresql_entries")), shown.of("log_errors"))
}

func TestFileGoesOnBeingCounted(t *testing.T) {
	bundled, err := os.ReadFile(filepath.Join(root, nginxPath))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "access.log")
	require.NoError(t, os.WriteFile(path, bundled, 0o600))
	lines := strings.Count(string(bundled), "\n")
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  file_log: {include: [%q], start_at: beginning, poll_interval: 50ms}
processors:
  tally: {resource_attributes: []}
exporters:
  nop:
service:
  pipelines:
    logs: {receivers: [file_log], processors: [tally], exporters: [nop]}
`, path))
	total := series("log_record_count", "processor", "tally")
	require.Equal(t, page{total: float64(lines)}, c.waitSettled(t, "tally", lines).of("log_record_count"))

	for range 3 {
		appendTo(t, path, strings.Repeat("one more line\n", 7))
		lines += 7
		require.Equal(t, page{total: float64(lines)}, c.waitSettled(t, "tally", lines).of("log_record_count"))
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// count returns the number that a script prints.
func count(t *testing.T, script string) float64 {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(bash(t, script)))
	require.NoError(t, err)
	return float64(n)
}

// tallied returns how often a script prints each line, under the series that its words stand for.
func tallied(t *testing.T, script string, name func(words []string) string) page {
	t.Helper()
	p := page{}
	for line := range strings.Lines(bash(t, script+" | sort | uniq -c")) {
		words := strings.Fields(line)
		n, err := strconv.Atoi(words[0])
		require.NoError(t, err)
		p[name(words[1:])] = float64(n)
	}
	require.NotEmpty(t, p)
	return p
}

func bash(t *testing.T, script string) string {
	t.Helper()
	return command(t, "bash", "-c", "set -euo pipefail; export LC_ALL=C; "+script)
}
