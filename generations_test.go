// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// generation is the processors of one id, in some pipelines, from one reading of the configuration.
type generation []processor.Logs

func newGeneration(t *testing.T, f processor.Factory, telemetry *componenttest.Telemetry, yaml string, pipelines int) (g generation) {
	t.Helper()
	cfg := testConfig(t, yaml)
	set := processortest.NewNopSettings(metadata.Type)
	set.ID, set.TelemetrySettings = component.MustNewID("tally"), telemetry.NewTelemetrySettings()
	for range pipelines {
		p, err := f.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		g = append(g, p)
	}
	return g
}

// live starts, uses and shuts down all processors at once; some are shut down twice, and some before they were started.
func (g generation) live(t *testing.T, seed uint64) {
	var all sync.WaitGroup
	for i, p := range g {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			if r.IntN(4) == 0 {
				assert.NoError(t, p.Shutdown(context.Background()))
			}
			if !assert.NoError(t, p.Start(t.Context(), componenttest.NewNopHost())) {
				return
			}
			for range r.IntN(10) {
				ld := logs(1+r.IntN(3), func(_ int, record plog.LogRecord) { record.Attributes().PutInt("a", int64(r.IntN(9))) })
				assert.NoError(t, p.ConsumeLogs(t.Context(), ld))
				time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond) // keys are forgotten after a second
			}
			for range 1 + r.IntN(2) {
				assert.NoError(t, p.Shutdown(context.Background()))
			}
			assert.ErrorIs(t, p.ConsumeLogs(t.Context(), logs(1, nil)), errNotRunning)
		})
	}
	all.Wait()
}

// Processors of one id start, forget and end at once, while the telemetry is collected, and some cannot start: each
// record is counted, once.
func TestGenerations(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			telemetry := componenttest.NewTelemetry()
			defer func() { assert.NoError(t, telemetry.Shutdown(context.Background())) }()
			f := NewFactory()
			ctx, stop := context.WithCancel(t.Context())
			var collecting sync.WaitGroup
			collecting.Go(func() {
				for ctx.Err() == nil {
					_, err := telemetry.GetMetric("otelcol_processor_tally_records_received")
					_ = err // there is none before the first generation
					time.Sleep(100 * time.Millisecond)
				}
			})
			for n := range uint64(4) {
				broken := newGeneration(t, f, telemetry, `store: nowhere`, 2)
				for _, p := range broken {
					require.Error(t, p.Start(t.Context(), componenttest.NewNopHost()))
					require.NoError(t, p.Shutdown(context.Background()))
				}
				g := newGeneration(t, f, telemetry, `{forget_after: 1s, logs: {c: {attributes: [{key: a}], cardinality_limit: 4}}}`, 3)
				g.live(t, seed*10+n)
			}
			stop()
			collecting.Wait()
			// The last that has ended shows what it has counted; others of its generation may have ended before it
			// began.
			h := &harness{telemetry: telemetry, metrics: []string{"c"}}
			h.requireConserved(t)
			assert.Zero(t, h.number(t, "records_in_flight"))
			shown := h.number(t, "sum_forgotten")
			if page, err := telemetry.GetMetric("c"); err == nil { // else all keys are forgotten
				for _, point := range page.Data.(metricdata.Sum[int64]).DataPoints {
					shown += point.Value
				}
			}
			assert.Equal(t, h.number(t, "records_counted"), shown, "seed %d", seed)
		})
	}
}
