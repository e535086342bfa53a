// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"
)

// The expression that docs/recipes.md gives for money is exact for any amounts with two decimals.
func TestMoneyInCents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cents := rapid.SliceOfN(rapid.Int64Range(0, 1e12), 1, 20).Draw(rt, "cents")
		ld := plog.NewLogs()
		records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		sum := 0
		for _, n := range cents {
			sum += int(n)
			records.AppendEmpty().Attributes().PutDouble("amount", float64(n)/100)
		}
		cfg := testConfig(t, `{resource_attributes: [], logs: {revenue: {sum: 'Int(attributes["amount"] * 100.0 + 0.5)'}}}`)
		store := NewMemoryStore()
		h := start(t, cfg, store, consumertest.NewNop())
		require.NoError(rt, h.ConsumeLogs(t.Context(), ld))
		require.NoError(rt, h.Shutdown(t.Context()))
		require.Equal(rt, sum, store.Get(`["revenue",{},{}]`))
	})
}
