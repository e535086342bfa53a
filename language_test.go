// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// What a client sent along with its request can be counted by: the tenant in a header, say.
func TestClientMetadata(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, `
resource_attributes: []
logs:
  by.tenant:
    attributes: [{key: tenant, value: 'Coalesce([otelcol.client.metadata["x-tenant"][0], attributes["tenant"]])', default_value: nobody}]`), store, consumertest.NewNop())
	ctx := client.NewContext(t.Context(), client.Info{Metadata: client.NewMetadata(map[string][]string{"x-tenant": {"acme"}})})
	require.NoError(t, h.ConsumeLogs(ctx, logs(3, nil)))
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(2, nil)))
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(4, func(_ int, r plog.LogRecord) { r.Attributes().PutStr("tenant", "own") })))
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 3, store.Get(`["by.tenant",{},{"tenant":"acme"}]`))
	assert.Equal(t, 4, store.Get(`["by.tenant",{},{"tenant":"own"}]`))
	assert.Equal(t, 2, store.Get(`["by.tenant",{},{"tenant":"nobody"}]`))
}

// A glob that matches a thousand attributes, and values of 10 MB, cost no more than their limits allow: each record is
// counted, under the overflow key where its own is too long.
func TestFault_input_oversized_records(t *testing.T) {
	cfg := testConfig(t, `
logs:
  m:
    attributes: [{key: "*"}, {key: level, default_value: none, keep_on_overflow: true}]
  value:
    attributes: [{key: all, value: 'Concat([attributes["a0"], attributes["a1"]], "")'}]`)
	for name, valueLimit := range map[string]int{"values are cut": 256, "values are not": 0} {
		t.Run(name, func(t *testing.T) {
			cfg.AttributeValueLengthLimit = valueLimit
			store := NewMemoryStore()
			h := start(t, cfg, store, consumertest.NewNop())
			huge := strings.Repeat("x", 10<<20)
			require.NoError(t, h.ConsumeLogs(t.Context(), logs(2, func(i int, r plog.LogRecord) {
				r.Attributes().PutStr("level", "error")
				for n := range 1000 {
					r.Attributes().PutStr(fmt.Sprint("a", n), fmt.Sprint("value ", n))
				}
				if i == 1 {
					r.Attributes().PutStr("a0", huge)
				}
			})))
			require.NoError(t, h.Shutdown(t.Context()))
			assert.Equal(t, 2, store.Get(`["m",{"service.name":"checkout"},{"level":"error","otel.metric.overflow":true}]`))
			sum, _ := sumOf(t, store)
			assert.Equal(t, 4, sum)
			for total, err := range store.Totals(t.Context()) {
				require.NoError(t, err)
				assert.LessOrEqual(t, len(total.Key), 4096)
				_, err := serieskey.Decode(total.Key)
				assert.NoError(t, err)
			}
			h.requireConserved(t)
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{67}, Claim: "values of 10 MB and globs over a thousand attributes: each record counts, under a key within its limit",
		Rounds: 2, Fired: 2, Counts: 8,
	})
}

// The size of a record is that of its bytes in a request: what OTLP's own encoding says.
func TestBytesAreThoseOfTheEncoding(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, `{resource_attributes: [], logs: {b: {sum: bytes}}}`), store, consumertest.NewNop())
	ld := logs(1, func(_ int, r plog.LogRecord) {
		r.SetTimestamp(1)
		r.SetSeverityText("INFO")
		r.Body().SetStr(strings.Repeat("é", 5000))
		r.Attributes().PutEmptyMap("nested").PutInt("n", 7)
		r.SetTraceID([16]byte{1})
	})
	require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	require.NoError(t, h.Shutdown(t.Context()))

	record := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, (&plog.ProtoMarshaler{}).LogRecordSize(record), store.Get(`["b",{},{}]`))
}

// A metric that adds amounts needs a store that can: n calls of Inc for a gigabyte would never end.
func TestAmountsNeedAnAdder(t *testing.T) {
	set := processortest.NewNopSettings(metadata.Type)
	p, err := NewFactory(WithMetricStore(struct{ MetricStore }{NewMemoryStore()})).CreateLogs(
		t.Context(), set, testConfig(t, `logs: {b: {sum: bytes}}`), consumertest.NewNop())
	require.NoError(t, err)
	err = p.Start(t.Context(), componenttest.NewNopHost())
	require.ErrorContains(t, err, "`logs::b::sum` is \"bytes\"")
	require.ErrorContains(t, err, "Adder")
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestUnitsFollow(t *testing.T) {
	units := map[string]string{}
	for _, m := range testConfig(t, `
logs:
  a: {}
  b: {sum: bytes}
  c: {sum: 'attributes["n"]'}
  d: {sum: bytes, unit: kBy}`).metrics() {
		units[m.name] = m.Unit
	}
	assert.Equal(t, map[string]string{"a": "{record}", "b": "By", "c": "", "d": "kBy"}, units)
}
