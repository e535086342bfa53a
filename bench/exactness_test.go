// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/tallyconnector"
)

var recordsBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// batch returns n records of one resource whose times are given.
func batch(n int, at func(i int) time.Time) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		records.AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(at(i)))
	}
	ld.MarkReadOnly()
	return ld
}

// scenarios are ways in which log records arrive every day. Each sends a number of records and returns it.
var scenarios = []struct {
	name string
	send func(t *testing.T, c connector.Logs) int
}{
	{"times with one-second resolution, 5 batches a second", func(t *testing.T, c connector.Logs) int {
		for b := range 100 {
			at := recordsBegin.Add(time.Duration(b/5) * time.Second)
			require.NoError(t, c.ConsumeLogs(t.Context(), batch(100, func(int) time.Time { return at })))
		}
		return 100 * 100
	}},
	{"one of two sources 10 s late", func(t *testing.T, c connector.Logs) int {
		for b := range 50 {
			now := recordsBegin.Add(time.Duration(b) * time.Second)
			require.NoError(t, c.ConsumeLogs(t.Context(), batch(100, func(int) time.Time { return now })))
			require.NoError(t, c.ConsumeLogs(t.Context(), batch(100, func(int) time.Time { return now.Add(-10 * time.Second) })))
		}
		return 50 * 200
	}},
	{"times of a batch spread over 60 s", func(t *testing.T, c connector.Logs) int {
		for b := range 100 {
			// each batch ends a little before or after the one before, as those of several files do
			from := recordsBegin.Add(time.Duration(b)*time.Second + time.Duration(b*37%100-50)*time.Second)
			require.NoError(t, c.ConsumeLogs(t.Context(), batch(100, func(i int) time.Time { return from.Add(time.Duration(i) * 600 * time.Millisecond) })))
		}
		return 100 * 100
	}},
	{"8 concurrent senders", func(t *testing.T, c connector.Logs) int {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					assert.NoError(t, c.ConsumeLogs(context.Background(), batch(10, func(int) time.Time { return time.Now() })))
				}
			})
		}
		wg.Wait()
		return 8 * 500 * 10
	}},
}

// TestExactWherePeersLose sends the same records through `count` and `signal_to_metrics`, each with
// `delta_to_cumulative` behind it, and through tally alone. tally's total is the number sent; what the peers lose is in
// the log.
func TestExactWherePeersLose(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			for _, peer := range []struct {
				name    string
				factory connector.Factory
				yaml    string
			}{
				{"count", countconnector.NewFactory(), `{}`},
				{"signal_to_metrics", signaltometricsconnector.NewFactory(), `
logs:
  - name: log.record.count
    description: Count.
    sum: {value: "1"}`},
			} {
				sink := new(consumertest.MetricsSink)
				cumulative := startMetricsProcessor(t, deltatocumulativeprocessor.NewFactory(), sink)
				c := startConnector(t, peer.factory, peer.yaml, cumulative)
				sent := s.send(t, c)
				require.NoError(t, c.Shutdown(t.Context()))
				require.NoError(t, cumulative.Shutdown(t.Context()))
				got := lastTotal(sink)
				t.Logf("%s -> delta_to_cumulative: %d sent, %d counted, %.1f %% lost", peer.name, sent, got, 100*float64(sent-got)/float64(sent))
			}
			sink := new(consumertest.MetricsSink)
			c := startConnector(t, tallyconnector.NewFactory(), `{}`, sink)
			sent := s.send(t, c)
			require.NoError(t, c.Shutdown(t.Context()))
			t.Logf("tally: %d sent, %d counted", sent, lastTotal(sink))
			assert.Equal(t, sent, lastTotal(sink))
		})
	}
}

// lastTotal returns the largest value that a sink got: the last total of the one series there is.
func lastTotal(sink *consumertest.MetricsSink) int {
	largest := 0
	for _, metrics := range sink.AllMetrics() {
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					for _, p := range m.Sum().DataPoints().All() {
						largest = max(largest, int(p.IntValue()))
					}
				}
			}
		}
	}
	return largest
}
