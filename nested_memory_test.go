// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package tallyprocessor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// A resource attribute a million levels deep, which as OTLP is 10 MB, takes no more stack than one that is not. Under
// the race detector pdata itself has no stack to read it.
func TestMemoryOfAMillionLevels(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, ""), store, consumertest.NewNop())
	for depth, inMaps := range map[int]bool{1_000_000: false, 400_000: true} { // as many as pdata itself can read
		ld, err := valuetest.Record{Resource: [][]byte{valuetest.Member("a", valuetest.Nested(depth, inMaps))}}.Logs()
		require.NoError(t, err)
		require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	h.requireConserved(t)
	sum, keys := sumOf(t, store)
	assert.Equal(t, []int{2, 2}, []int{sum, keys})
}
