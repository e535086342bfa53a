// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
)

// Row 68: far more distinct values than the limit allows. The sum over all keys is exact, and so is the number of keys.
func TestSumStaysExactBeyondTheLimit(t *testing.T) {
	const values, limit, resources = 100_000, 2000, 3
	store := NewMemoryStore()
	h := start(t, testConfig(t, fmt.Sprintf(`
logs: {c: {attributes: [{key: v}], cardinality_limit: %d}}
queue: {num_consumers: 4}`, limit)), store, consumertest.NewNop())
	var wg sync.WaitGroup
	for r := range resources {
		wg.Go(func() {
			for from := 0; from < values; from += 5000 {
				ld := plog.NewLogs()
				rl := ld.ResourceLogs().AppendEmpty()
				rl.Resource().Attributes().PutInt("r", int64(r))
				records := rl.ScopeLogs().AppendEmpty().LogRecords()
				for i := range 5000 {
					records.AppendEmpty().Attributes().PutInt("v", int64(from+i))
				}
				ld.MarkReadOnly()
				assert.NoError(t, h.ConsumeLogs(context.Background(), ld))
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.Shutdown(t.Context()))
	sum, keys := sumOf(t, store)
	assert.Equal(t, values*resources, sum)
	assert.Equal(t, limit+resources, keys)
	overflow := 0
	for r := range resources {
		overflow += store.Get(fmt.Sprintf(`["c",{"r":%d},{"otel.metric.overflow":true}]`, r))
	}
	assert.Equal(t, values*resources-limit, overflow)
	assert.EqualValues(t, overflow, h.number(t, "records_overflowed"))
}

// More resources than the limit: what has no overflow key of its own goes into the last one.
func TestResourcesBeyondTheLimit(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, `logs: {c: {cardinality_limit: 5}}`), store, consumertest.NewNop())
	for r := range 100 {
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutInt("r", int64(r))
		rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	sum, keys := sumOf(t, store)
	assert.Equal(t, 100, sum)
	assert.Equal(t, 2*5+1, keys)
	assert.Equal(t, 90, store.Get(`["c",{},{"otel.metric.overflow":true}]`))
}

// The limit on a key's length at its edge, and for resources whose overflow key would be too long as well.
func TestKeyLengthLimit(t *testing.T) {
	fits := `["c",{"r":"x"},{"a":"` + strings.Repeat("v", 30) + `"}]`
	overflow := `["c",{"r":"x"},{"otel.metric.overflow":true}]`
	last := `["c",{},{"otel.metric.overflow":true}]`
	for _, tt := range []struct {
		name, resource, value, want string
	}{
		{"n-1", "x", strings.Repeat("v", 29), fits[:len(fits)-4] + `"}]`},
		{"n", "x", strings.Repeat("v", 30), fits},
		{"n+1", "x", strings.Repeat("v", 31), overflow},
		{"long resource", strings.Repeat("x", 100), "v", last},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := NewMemoryStore()
			h := start(t, testConfig(t, fmt.Sprintf(`
logs: {c: {attributes: [{key: a}]}}
key_length_limit: %d`, len(fits))), store, consumertest.NewNop())
			ld := plog.NewLogs()
			rl := ld.ResourceLogs().AppendEmpty()
			rl.Resource().Attributes().PutStr("r", tt.resource)
			rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutStr("a", tt.value)
			require.NoError(t, h.ConsumeLogs(t.Context(), ld))
			require.NoError(t, h.Shutdown(t.Context()))
			assert.Equal(t, 1, store.Get(tt.want))
		})
	}
}

// Every number of the contract's third promise, with a reason for each record that is not counted.
func TestNumbersBalance(t *testing.T) {
	core, logged := observer.New(zapcore.DebugLevel)
	telemetry := componenttest.NewTelemetry()
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	set.Logger = zap.New(core)
	cfg := testConfig(t, `
logs:
  all: {}
  met: {conditions: ['attributes["i"] == 1']}
  missing: {attributes: [{key: sometimes}]}
  failing: {conditions: ['ParseJSON(body)["a"] == 1']}
queue: {num_consumers: 1}`)
	p, err := NewFactory().CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	h := &harness{Logs: p, telemetry: telemetry, metrics: []string{"all", "met", "missing", "failing"}}
	for range 5 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(10, func(i int, r plog.LogRecord) {
			r.Attributes().PutInt("i", int64(i))
			if i < 3 {
				r.Attributes().PutStr("sometimes", strings.Repeat("x", 300))
			}
		})))
	}
	require.Eventually(t, func() bool { return h.number(t, "batches_counted") == 5 }, 5e9, 1e6)
	for _, want := range []struct {
		metric, reason      string
		counted, notCounted int64
	}{
		{"all", "", 50, 0},
		{"met", "condition", 5, 45},
		{"missing", "missing_attribute", 15, 35},
		{"failing", "condition_error", 0, 50},
	} {
		by := "metric=" + want.metric
		assert.Equal(t, want.counted, h.number(t, "records_counted", by), want.metric)
		assert.Equal(t, want.notCounted, h.number(t, "records_not_counted", by, "reason="+want.reason), want.metric)
		assert.Equal(t, want.notCounted, h.number(t, "records_not_counted", by), want.metric)
		assert.Zero(t, h.number(t, "records_in_flight", by), want.metric)
	}
	h.requireConserved(t)
	assert.EqualValues(t, 50, h.number(t, "records_received", "processor=tally"))
	assert.EqualValues(t, 3*5, h.number(t, "store_additions"))
	assert.EqualValues(t, 3, h.number(t, "keys"))
	assert.EqualValues(t, 5, h.number(t, "values_truncated"))
	assert.Zero(t, h.number(t, "store_errors"))

	assert.Equal(t, 1, logged.FilterLevelExact(zapcore.WarnLevel).Len(), "rate-limited")
	assert.Equal(t, "failing", logged.FilterLevelExact(zapcore.WarnLevel).All()[0].ContextMap()["metric"])
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

func TestSilentErrorModeLogsNothing(t *testing.T) {
	core, logged := observer.New(zapcore.DebugLevel)
	set := processortest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	cfg := testConfig(t, `
error_mode: silent
logs: {failing: {conditions: ['ParseJSON(body)["a"] == 1']}}`)
	p, err := NewFactory(WithMetricStore(NewMemoryStore())).CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(1, nil)))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Zero(t, logged.Len())
}

// Every reason that the code knows stands in metadata.yaml, and the other way round.
func TestReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "Why the records were not counted")
	require.True(t, found)
	section, _, found = strings.Cut(section, "\ntests:")
	require.True(t, found)
	var documented []string
	for line := range strings.Lines(section) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			documented = append(documented, name)
		}
	}
	var names []string
	for r := selfmetrics.Condition; r <= selfmetrics.LostAtShutdown; r++ {
		names = append(names, r.String())
	}
	assert.ElementsMatch(t, documented, names)
}

// Row 16: a short key must not keep the large record alive that it came from.
func TestFault_input_short_keys_of_large_records(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, `logs: {c: {attributes: [{key: a}]}}`), store, consumertest.NewNop())
	const records, size = 100, 1 << 20
	for i := range records {
		big := strings.Repeat("x", size) + fmt.Sprintf("%010d", i)
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, func(_ int, r plog.LogRecord) { r.Attributes().PutStr("a", big[size:]) })))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	runtime.GC()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	assert.Less(t, after.HeapInuse, uint64(records*size/2))
	_, keys := sumOf(t, store)
	assert.Equal(t, records, keys)
	evidence.Report(t, evidence.Figure{
		Rows: []int{16}, Claim: "short keys out of records of 1 MB do not keep those alive",
		Rounds: records, Unit: "records", Fired: records, Counts: records, Note: fmt.Sprintf("heap %d MB", after.HeapInuse>>20),
	})
}
