// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/tallyconnector"
)

// TestDeltaAndCumulativeAgree: tally's deltas, made cumulative by `delta_to_cumulative`, end where tally's own
// cumulative totals end. That processor drops what is not chained, so this shows the intervals to be so.
func TestDeltaAndCumulativeAgree(t *testing.T) {
	const yaml = `
flush_interval: 20ms
logs: {c: {attributes: [{key: parity}]}}
temporality: `
	send := func(temporality string, sink *consumertest.MetricsSink, viaDelta bool) pmetric.Metrics {
		var c connector.Logs
		cumulative := startMetricsProcessor(t, deltatocumulativeprocessor.NewFactory(), sink)
		if viaDelta {
			c = startConnector(t, tallyconnector.NewFactory(), yaml+temporality, cumulative)
		} else {
			c = startConnector(t, tallyconnector.NewFactory(), yaml+temporality, sink)
		}
		for n := range 20 {
			ld := plog.NewLogs()
			records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
			for i := range n + 1 {
				records.AppendEmpty().Attributes().PutInt("parity", int64(i%2))
			}
			require.NoError(t, c.ConsumeLogs(t.Context(), ld))
			time.Sleep(10 * time.Millisecond) // so that there are several intervals, whose number does not matter
		}
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, cumulative.Shutdown(t.Context()))
		return lastPoints(sink)
	}
	direct := send("cumulative", new(consumertest.MetricsSink), false)
	converted := send("delta", new(consumertest.MetricsSink), true)
	assert.Equal(t, 2, direct.DataPointCount())
	unify(direct)
	unify(converted)
	assert.NoError(t, pmetrictest.CompareMetrics(direct, converted,
		pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp(), pmetrictest.IgnoreMetricDataPointsOrder()))
}

// lastPoints returns the last payload of a sink with the largest value that each of its series has reached anywhere.
func lastPoints(sink *consumertest.MetricsSink) pmetric.Metrics {
	largest := map[int64]int64{} // by parity
	each := func(m pmetric.Metrics, visit func(list pmetric.NumberDataPointSlice)) {
		for _, rm := range m.ResourceMetrics().All() {
			visit(rm.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints())
		}
	}
	parity := func(p pmetric.NumberDataPoint) int64 {
		v, _ := p.Attributes().Get("parity")
		return v.Int()
	}
	for _, m := range sink.AllMetrics() {
		each(m, func(list pmetric.NumberDataPointSlice) {
			for _, p := range list.All() {
				largest[parity(p)] = max(largest[parity(p)], p.IntValue())
			}
		})
	}
	last := sink.AllMetrics()[len(sink.AllMetrics())-1]
	each(last, func(list pmetric.NumberDataPointSlice) {
		for _, p := range list.All() {
			p.SetIntValue(largest[parity(p)])
		}
	})
	return last
}
