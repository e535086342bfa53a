// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/shown"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadatatest"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
)

func podKey(metric string, n int) string { return fmt.Sprintf(`["%s",{},{"pod":%d}]`, metric, n) }

func forgetAfter(d time.Duration) func(*Config) { return func(c *Config) { c.ForgetAfter = d } }

func requireForgotten(t *testing.T, i *instance, metric string, keys, total int) {
	t.Helper()
	require.Equal(t, map[string]capability.Forgotten{metric: {Keys: keys, Total: total}}, i.store.Forgotten())
}

func TestForgottenIsKeptOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		i := start(t, d, forgetAfter(time.Minute))
		for n := range 10 {
			i.store.Add(podKey("m", n), 5)
		}
		require.NoError(t, i.store.Flush(t.Context()))
		time.Sleep(59 * time.Second) // idle keys are looked for at each sixth second
		i.store.Add(podKey("m", 0), 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		requireForgotten(t, i, "m", 9, 45)
		id := attribute.NewSet(attribute.String("extension", "tally_memory"), attribute.String("metric", "m"))
		metadatatest.AssertEqualExtensionTallyMemoryKeysForgotten(t, i.telemetry,
			[]metricdata.DataPoint[int64]{{Attributes: id, Value: 9}}, metricdatatest.IgnoreTimestamp())
		metadatatest.AssertEqualExtensionTallyMemorySumForgotten(t, i.telemetry,
			[]metricdata.DataPoint[int64]{{Attributes: id, Value: 45}}, metricdatatest.IgnoreTimestamp())
		require.NoError(t, i.Shutdown(t.Context()))
		time.Sleep(time.Hour) // ages nothing

		i = start(t, d, forgetAfter(time.Minute))
		requireForgotten(t, i, "m", 0, 45)
		assert.Equal(t, map[string]int{podKey("m", 0): 6}, i.values(t), "what was dropped does not come back")
		time.Sleep(50 * time.Second)
		i.store.Inc(podKey("m", 1))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		requireForgotten(t, i, "m", 1, 51)
		assert.Equal(t, map[string]int{podKey("m", 1): 1}, i.values(t), "it begins at zero")
		assert.False(t, i.totals(t)[podKey("m", 1)].Start.Before(i.store.Info().Opened), "at a new start time")
		require.NoError(t, i.Shutdown(t.Context()))

		i = start(t, d, func(c *Config) { c.ForgetAfter = 0 })
		requireForgotten(t, i, "m", 0, 51)
		time.Sleep(24 * time.Hour)
		assert.Len(t, i.values(t), 1)
		require.NoError(t, i.Shutdown(t.Context()))
	})
}

// In memory alone keys are forgotten as well, from Start to Shutdown.
func TestForgetWithoutStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, nil, func(c *Config) { c.Storage, c.ForgetAfter = nil, time.Minute })
		i.memory.Inc(podKey("m", 1))
		time.Sleep(2 * time.Minute)
		assert.Zero(t, i.memory.Get(podKey("m", 1)))
		i.memory.Inc(podKey("m", 1))
		require.NoError(t, i.Shutdown(t.Context()))
		time.Sleep(2 * time.Minute)
		assert.Equal(t, 1, i.memory.Get(podKey("m", 1)))
	})
}

// Whenever the extension is killed, what is in the storage balances: each amount is with its key, or forgotten.
func TestFault_kill_while_forgetting(t *testing.T) {
	seed, kills := evidence.Seed(t), evidence.Rounds(50, 300)
	counted, forgotten := 0, 0
	synctest.Test(t, func(t *testing.T) {
		random := evidence.Random(seed)
		d := newDisk()
		for range kills {
			i := start(t, d, forgetAfter(3*time.Second), func(c *Config) { c.FlushInterval = time.Second })
			sum := 0
			for _, n := range i.values(t) {
				sum += n
			}
			forgotten = i.store.Forgotten()["m"].Total
			require.Equal(t, counted, sum+forgotten)
			for range random.IntN(10) {
				for range 100 {
					i.store.Inc(podKey("m", random.IntN(2000)))
					counted++
				}
				time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
			}
			require.NoError(t, i.store.Flush(t.Context())) // from here on it only forgets
			time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
			synctest.Wait()
			i.kill(t)
		}
		assert.Positive(t, forgotten)
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{31}, Claim: "a kill while idle keys are dropped: what is there and what is forgotten add up to what was counted",
		Seed: seed, Rounds: kills, Unit: "kills", Fired: kills, Counts: int64(counted), Note: fmt.Sprintf("%d of them were forgotten", forgotten),
	})
}

// What an earlier release has stored is read, and what is forgotten afterwards is kept.
func TestFault_storage_older_state(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		i := start(t, d)
		i.store.Describe(store.Description{Metric: "m", Unit: "{u}"})
		i.store.Add(podKey("m", 1), 7)
		require.NoError(t, i.Shutdown(t.Context()))
		for name, blob := range d.data {
			if name[:4] == "meta" {
				// what the description adds up, and two empty lists
				blob = append(blob[:len(blob)-7], blob[len(blob)-4:]...)
			}
			d.data[name] = withVersion(t, blob, 1)
		}

		i = start(t, d, forgetAfter(time.Minute))
		assert.Zero(t, i.damaged())
		assert.Equal(t, map[string]int{podKey("m", 1): 7}, i.values(t))
		assert.Len(t, i.store.Descriptions(), 1)
		time.Sleep(2 * time.Minute)
		require.NoError(t, i.Shutdown(t.Context()))

		i = start(t, d)
		requireForgotten(t, i, "m", 0, 7)
		assert.Empty(t, i.values(t))
		require.NoError(t, i.Shutdown(t.Context()))
		meta, err := state.Decode(d.data[state.Name(state.Meta, 1)], component.MustNewID("tally_memory").String(), state.Meta)
		require.NoError(t, err)
		assert.Len(t, meta.Forgotten, 1)
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{47}, Claim: "a state of version 1: read, and written as the present version",
		Rounds: 1, Fired: 1, Counts: 7,
	})
}

// What was forgotten stays at the largest number that can be shown, and does not turn negative.
func TestForgottenAmountSaturates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, newDisk(), forgetAfter(time.Minute))
		for n := range 3 {
			i.store.Add(podKey("m", n), math.MaxInt)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		id := attribute.NewSet(attribute.String("extension", "tally_memory"), attribute.String("metric", "m"))
		metadatatest.AssertEqualExtensionTallyMemorySumForgotten(t, i.telemetry,
			[]metricdata.DataPoint[int64]{{Attributes: id, Value: shown.Largest}}, metricdatatest.IgnoreTimestamp())
		require.NoError(t, i.Shutdown(t.Context()))
	})
}
