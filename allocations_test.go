// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package tallyprocessor

// Under the race detector a sync.Pool drops what it is given at random. `make test` runs these tests a second time,
// without it.

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Counting a batch whose keys are known allocates a small constant, whatever the number of its records.
func TestSteadyStateAllocations(t *testing.T) {
	h := start(t, testConfig(t, `
logs: {c: {attributes: [{key: a}]}}
queue: {queue_size: 1}`), NewMemoryStore(), consumertest.NewNop())
	ld := logs(8192, func(i int, r plog.LogRecord) { r.Attributes().PutInt("a", int64(i%500)) })
	for range 20 {
		require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	}
	ctx := context.Background()
	assert.Less(t, testing.AllocsPerRun(50, func() {
		if err := h.ConsumeLogs(ctx, ld); err != nil {
			t.Error(err)
		}
	}), 20.0)
}
