// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
)

// A total at the edge stays there, and a metric says so.
func TestSaturationIsTold(t *testing.T) {
	store := NewMemoryStore()
	store.Restore(Total{Key: key, Value: math.MaxInt - 3, Start: time.Now(), Last: time.Now()})
	h := start(t, testConfig(t, `queue: {num_consumers: 1}`), store, consumertest.NewNop())
	for _, n := range []int{3, 1, 5} {
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(n, nil)))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, math.MaxInt, store.Get(key))
	assert.EqualValues(t, 2, h.number(t, "store_saturations"))
	assert.EqualValues(t, 9, h.number(t, "records_counted"))
}
