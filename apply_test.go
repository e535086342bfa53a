// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/metadata"
)

// counted returns the totals of a new store after n records of one resource, `host`, which edit may fill in.
func counted(t *testing.T, yaml string, n int, edit func(i int, r plog.LogRecord)) (map[string]int, *MemoryStore) {
	t.Helper()
	store := NewMemoryStore()
	h := start(t, testConfig(t, yaml), store, consumertest.NewNop())
	ld := plog.NewLogs()
	logs(n, edit).CopyTo(ld)
	resource := ld.ResourceLogs().At(0).Resource().Attributes()
	resource.Clear()
	resource.PutStr("host", "h")
	require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	require.NoError(t, h.Shutdown(t.Context()))
	totals := map[string]int{}
	for total, err := range store.Totals(t.Context()) {
		require.NoError(t, err)
		totals[total.Key] = total.Value
	}
	return totals, store
}

// A record that adds nothing is counted, and makes no key.
func TestAmountOfNothingMakesNoKey(t *testing.T) {
	totals, _ := counted(t, `logs: {m: {sum: 'attributes["n"]', attributes: [{key: a}]}}`, 2, func(i int, r plog.LogRecord) {
		r.Attributes().PutInt("n", int64(i))
		r.Attributes().PutInt("a", int64(i))
	})
	assert.Equal(t, map[string]int{`["m",{"host":"h"},{"a":1}]`: 1}, totals)
}

// An overflow key has its resource as long as it fits: always without a limit, and up to its last byte with one.
func TestOverflowKeyKeepsItsResource(t *testing.T) {
	const own, last = `["m",{"host":"h"},{"otel.metric.overflow":true}]`, `["m",{},{"otel.metric.overflow":true}]`
	for limit, want := range map[int]string{0: own, len(own): own, len(own) - 1: last} {
		totals, _ := counted(t, fmt.Sprintf(`{key_length_limit: %d, logs: {m: {attributes: [{key: a}], cardinality_limit: 1}}}`, limit), 3, func(i int, r plog.LogRecord) {
			r.Attributes().PutInt("a", int64(i))
		})
		assert.Equal(t, 2, totals[want], "%d: %v", limit, totals)
	}
}

// The sketch of what overflows has the keys that had no place, by what they add. A key that is too long is none of
// them.
func TestSketchOfWhatHadNoPlace(t *testing.T) {
	_, store := counted(t, `{key_length_limit: 60, attribute_value_length_limit: 0, logs: {m: {sum: 'attributes["n"]', attributes: [{key: a}], cardinality_limit: 1}}}`, 4,
		func(i int, r plog.LogRecord) {
			r.Attributes().PutStr("a", []string{"first", "none", "some", strings.Repeat("long", 20)}[i])
			r.Attributes().PutInt("n", []int64{1, 0, 5, 7}[i])
		})
	assert.Equal(t, []capability.Overflow{{Key: `["m",{"host":"h"},{"a":"some"}]`, Estimate: 5}}, store.Overflows("m", 10))
}

// All is well, and the log says nothing to the contrary.
func TestNoErrorInTheLog(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	set := processortest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	p, err := NewFactory(WithMetricStore(NewMemoryStore())).CreateLogs(t.Context(), set, testConfig(t, `logs: {m: {attributes: [{key: a}]}}`), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, func(i int, r plog.LogRecord) { r.Attributes().PutInt("a", int64(i)) })))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Empty(t, lines.All())
}
