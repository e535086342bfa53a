// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// The duration of processing is that of the processor: what the next consumer takes is not in it, what the store of a
// durable one takes is.
func TestProcessingDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newKeepingStore()
		store.set(3*time.Second, nil)
		next, err := consumer.NewLogs(func(context.Context, plog.Logs) error { time.Sleep(time.Hour); return nil })
		require.NoError(t, err)
		h := start(t, durableConfig(t, ""), store, next)
		const batches = 1600
		for range batches {
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
		}
		m, err := h.telemetry.GetMetric("otelcol_processor_tally_processing_duration")
		require.NoError(t, err)
		points := m.Data.(metricdata.Histogram[float64]).DataPoints
		require.Len(t, points, 1)
		assert.InDelta(t, batches/64, points[0].Count, batches/64) // at random
		assert.InDelta(t, 3*float64(points[0].Count), points[0].Sum, 1e-6)
	})
}
