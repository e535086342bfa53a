// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

const countedName = "otelcol_processor_tally_records_counted"

func TestTelemetrygen(t *testing.T) {
	const workers, each = 2, 10_000
	port := freePort(t)
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d}}}
processors:
  tally:
    resource_attributes: []
    logs:
      all:
      by.route: {attributes: [{key: route}]}
      never: {conditions: ['severity_number >= SEVERITY_NUMBER_FATAL']}
exporters:
  nop:
service:
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
`, port))
	command(t, telemetrygenPath, telemetrygen(port, "--workers", fmt.Sprint(workers), "--logs", fmt.Sprint(each),
		"--telemetry-attributes", `route="/basket"`)...)

	shown := c.waitSettled(t, "tally", workers*each)
	require.Equal(t, page{series("all", "processor", "tally"): workers * each}, shown.of("all"))
	require.Equal(t, page{series("by_route", "processor", "tally", "route", "/basket"): workers * each}, shown.of("by_route"))
	require.Equal(t, page{series("never", "processor", "tally"): 0}, shown.of("never"), "its one series is there from the start")
	requireLedger(t, shown, "tally", "all", "by.route", "never")
	require.Equal(t, page{
		series("otelcol_processor_tally_records_not_counted", "metric", "never", "processor", "tally", "reason", "condition"): workers * each,
	}, withoutZeros(shown.of("otelcol_processor_tally_records_not_counted")))
}

func withoutZeros(p page) page {
	found := page{}
	for s, value := range p {
		if value != 0 {
			found[s] = value
		}
	}
	return found
}

func TestFault_lifecycle_sigterm_telemetry(t *testing.T) {
	const enough = 10_000 // records before SIGTERM
	port, server, file := freePort(t), startMetricsServer(t), filepath.Join(t.TempDir(), "logs.json")
	c := startCollector(t, fmt.Sprintf(`
        - periodic: {interval: 200, exporter: {otlp: {protocol: http/protobuf, endpoint: "%s/v1/metrics"}}}
`, server.URL), fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {resource_attributes: []}
exporters:
  file: {path: %q, format: json}
service:
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [file]}
`, port, file))
	load := exec.Command(telemetrygenPath, telemetrygen(port, "--workers", "4", "--duration", "1m")...)
	load.Dir = root
	require.NoError(t, load.Start())
	t.Cleanup(func() {
		_ = load.Process.Kill() // it ends with an error when the Collector has gone, or goes on trying
		_ = load.Wait()
	})
	waitFor(t, "load, and to be told of it", func() bool { return lastCounted(server.values(countedName)) >= enough })
	require.Zero(t, c.terminate(t))

	log := c.readLog(t)
	require.NotContains(t, log, "shut down before all records were counted")
	require.NotContains(t, log, "calls in flight")
	require.Contains(t, log, "Shutdown complete.")
	accepted, pushes := recordsIn(t, file), server.values(countedName)
	sent := server.values("otelcol_exporter_sent_log_records")
	t.Logf("accepted by the next consumer: %d, counted as pushed: %v", accepted, pushes)
	require.Equal(t, accepted, sent[len(sent)-1], "the last push is not of the end")
	require.Equal(t, accepted, pushes[len(pushes)-1])
	totals := server.values("log.record.count")
	require.Equal(t, accepted, totals[len(totals)-1])
	evidence.Report(t, evidence.Figure{
		Rows: []int{29}, Claim: "SIGTERM under load: what the Collector's last push of its own metrics says is counted and sent is what was forwarded",
		Rounds: 1, Unit: "SIGTERMs", Fired: 1, Counts: int64(accepted),
	})
}

// lastCounted returns the last value that was pushed at all.
func lastCounted(pushes []int) int {
	last := -1
	for _, value := range pushes {
		if value >= 0 {
			last = value
		}
	}
	return last
}

// recordsIn returns the number of log records in a file of the file exporter's.
func recordsIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	records := 0
	for line := range strings.Lines(string(text)) {
		logs, err := new(plog.JSONUnmarshaler).UnmarshalLogs([]byte(line))
		require.NoError(t, err)
		records += logs.LogRecordCount()
	}
	return records
}
