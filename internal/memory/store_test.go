// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

func TestSaturates(t *testing.T) {
	s := New()
	s.Add("k", math.MaxInt)
	s.Inc("k")
	assert.Equal(t, math.MaxInt, s.Get("k"))
	assert.EqualValues(t, 1, s.Saturated())
	s.Add("k", -1)
	s.Add("k", 0)
	assert.Equal(t, math.MaxInt, s.Get("k"))
	s.Add("none", 0)
	assert.Len(t, listOf(t, s), 1)
}

// Row 69: keys that all fall into one shard of an unseeded hash are spread by a seeded one.
func TestShardsAreEven(t *testing.T) {
	s := New()
	const keys = 64 * 2000
	for i := range keys {
		s.Inc(serieskey.Key{Metric: "m", Attributes: []serieskey.Attribute{{Name: "i", Value: serieskey.IntValue(int64(i))}}}.String())
	}
	largest := 0
	for i := range s.shards {
		largest = max(largest, len(s.shards[i].totals))
	}
	assert.Less(t, float64(largest), 1.5*keys/shardCount)
}

// What is nothing leaves no key behind: neither an addition of nothing nor a total that was kept as nothing.
func TestNothingIsNoKey(t *testing.T) {
	s := New()
	s.Add("zero", 0)
	s.Add("negative", -1)
	assert.Zero(t, len(s.shard("zero").totals)+len(s.shard("negative").totals))
	s.Restore(store.Total{Key: "restored"})
	for total, err := range s.Totals(t.Context()) {
		require.NoError(t, err)
		assert.Fail(t, "listed", total.Key)
	}
}

// A key was counted last at the time of its last addition, to the millisecond, even where that is earlier than the one
// before.
func TestTimeOfTheLastAddition(t *testing.T) {
	s := New()
	c, now := s.Bind("k"), s.Info().Opened
	for _, after := range []time.Duration{time.Hour, 2 * time.Hour, time.Minute, time.Minute + time.Millisecond} {
		require.True(t, c.Add(1, now.Add(after)))
		for total, err := range s.Totals(t.Context()) {
			require.NoError(t, err)
			assert.Equal(t, after, total.Last.Sub(now.Truncate(0)))
		}
	}
}
