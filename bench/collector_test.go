// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// collectorPath is where `make bench` builds the Collector that is measured.
const collectorPath = "../.tools/otelcol-bench/otelcol-bench"

// Requests of a size as exporters send them.
const (
	requests          = 400
	recordsPerRequest = 1000
)

// pipelines that all take OTLP by gRPC and send it to nop.
var pipelines = map[string]string{
	"none": `
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [nop]}`,
	"tally": `
processors: {tally: {logs: {c: {attributes: [{key: http.route}]}}}}
service:
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}`,
	"count": `
connectors: {count: {logs: {c: {attributes: [{key: http.route}]}}}}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [nop, count]}
    metrics: {receivers: [count], exporters: [nop]}`,
}

// BenchmarkCollector sends OTLP to a Collector, a process of its own, and reads what CPU that has used. One operation
// is 400 requests of 1000 records.
func BenchmarkCollector(b *testing.B) {
	if _, err := os.Stat(collectorPath); err != nil {
		b.Skip("make bench builds the Collector: ", err)
	}
	request := plogotlp.NewExportRequestFromLogs(shape{records: recordsPerRequest, resources: 4}.logs(b)[0])
	for _, with := range []string{"none", "tally", "count"} {
		b.Run("with="+with, func(b *testing.B) {
			collector, client := startCollector(b, pipelines[with])
			send := func() {
				for range requests {
					_, err := client.Export(context.Background(), request)
					require.NoError(b, err)
				}
			}
			send() // until it is warm
			before := cpuTimeOf(b, collector.Process.Pid)
			for b.Loop() {
				send()
			}
			spent := cpuTimeOf(b, collector.Process.Pid) - before
			b.ReportMetric(spent.Seconds()/float64(b.N*requests*recordsPerRequest)*1e6, "cpu-s/Mrecord")
		})
	}
}

// startCollector returns a Collector that listens, and a client of it.
func startCollector(b *testing.B, pipeline string) (*exec.Cmd, plogotlp.GRPCClient) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	address := listener.Addr().String()
	require.NoError(b, listener.Close())
	config := filepath.Join(b.TempDir(), "config.yaml")
	require.NoError(b, os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {grpc: {endpoint: "%s"}}}}
exporters: {nop: {}}
%s
  telemetry: {logs: {level: warn}, metrics: {level: none}}
`, address, pipeline), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(collectorPath, "--config", config)
	cmd.Stderr = &log
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Errorf("the Collector has ended with %v:\n%s", err, log.String())
		}
	})
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { _ = connection.Close() })
	client := plogotlp.NewGRPCClient(connection)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := client.Export(context.Background(), plogotlp.NewExportRequest())
		if err == nil {
			return cmd, client
		}
		require.True(b, time.Now().Before(deadline), "%v", err)
	}
}

// clockTick is the unit of times in /proc, which the kernel fixes for all that is not part of it (man 5 proc, man 7
// time).
const clockTick = time.Second / 100

// cpuTimeOf returns what a process has used so far, in user and in kernel mode.
func cpuTimeOf(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	// Fields 14 and 15; the second, the name in parentheses, might hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		require.NoError(b, err)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
