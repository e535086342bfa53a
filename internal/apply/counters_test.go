// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/limiter"
	"github.com/logtally/tallyprocessor/internal/memory"
)

// Whatever comes, the Counters that are remembered are not many more than the keys; what was put last is found.
func TestCountersAreBounded(t *testing.T) {
	admitted := 10
	b := newCounters(func() int { return admitted })
	counter := memory.New().Bind("a")
	most := 0
	for n := range uint32(50_000) {
		attributes := binary.BigEndian.AppendUint32(nil, n)
		resource := attributes[:3] // each for 256 series
		number := b.put(1, resource, attributes, counter)
		_, _, found := b.bySeries.Get(appendSeries(nil, 1, number, attributes))
		assert.True(t, found)
		most = max(most, b.bySeries.Len())
	}
	assert.Equal(t, minCounters, most)

	admitted = 100_000
	for n := range uint32(50_000) {
		b.put(1, []byte("r"), binary.BigEndian.AppendUint32(nil, n), counter)
	}
	assert.Greater(t, b.bySeries.Len(), 50_000-minCounters, "there are more keys than that")
	admitted = 20_000
	b.shrink()
	assert.Zero(t, b.bySeries.Len(), "most of the keys were dropped")
	for n := range uint32(10_000) {
		b.put(1, binary.BigEndian.AppendUint32(nil, n), nil, counter)
	}
	admitted = 6000
	b.shrink()
	assert.Len(t, b.resources, 10_000, "less than twice as many as keys are kept")
	admitted = 4000
	b.shrink()
	assert.Empty(t, b.resources)
}

func TestAdmittedIsOfAllMetrics(t *testing.T) {
	a, b := limiter.New(limiter.NewKeys(), 10, "last"), limiter.New(limiter.NewKeys(), 10, "last")
	a.Restore("a", false)
	b.Restore("b", false)
	b.Restore("c", false)
	assert.Equal(t, 3, (&Applier{limiters: []*limiter.Limiter{a, b}}).admitted())
}
