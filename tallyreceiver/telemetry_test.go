// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

// The receiver's own telemetry has the points of each payload that was accepted, and of each that was not, the last
// emission among them.
func TestPointsOnTheOwnTelemetry(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			telemetry := componenttest.NewTelemetry()
			set := receivertest.NewNopSettings(metadata.Type)
			set.ID, set.TelemetrySettings = component.NewID(metadata.Type), telemetry.NewTelemetrySettings()
			accepted, refused := int64(0), int64(0)
			next, _ := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
				points := int64(m.DataPointCount())
				m.ResourceMetrics().RemoveIf(func(pmetric.ResourceMetrics) bool { return true }) // it is the consumer's
				if r.IntN(3) == 0 {
					refused += points
					return errors.New("away")
				}
				accepted += points
				return nil
			})
			store := memory.New()
			for i := range r.IntN(20_000) {
				store.Inc(fmt.Sprintf(`["m",{},{"i":%d}]`, i))
			}
			cfg := createDefaultConfig().(*Config)
			cfg.Store = &storeID
			one, err := NewFactory().CreateMetrics(t.Context(), set, cfg, next)
			require.NoError(t, err)
			require.NoError(t, one.Start(t.Context(), hostWith(store)))
			time.Sleep(35 * time.Second)
			_ = one.Shutdown(t.Context())
			assert.Equal(t, accepted, sumOf(t, telemetry, "otelcol_receiver_accepted_metric_points"))
			assert.Equal(t, refused, sumOf(t, telemetry, "otelcol_receiver_refused_metric_points"))
			require.NoError(t, telemetry.Shutdown(t.Context()))
		})
	}
}

func sumOf(t *testing.T, telemetry *componenttest.Telemetry, name string) (sum int64) {
	t.Helper()
	m, err := telemetry.GetMetric(name)
	require.NoError(t, err)
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		sum += p.Value
	}
	return sum
}
