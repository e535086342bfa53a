// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// Keys that were chosen to fall into one of 64 shards under FNV-1a, which is the hash that is flooded most easily.
func TestFault_input_hash_flood(t *testing.T) {
	keys := evidence.Rounds(10_000, 100_000)
	s := New()
	flooded := 0
	for i := int64(0); flooded < keys; i++ {
		text := serieskey.Key{Metric: "m", Attributes: []serieskey.Attribute{{Name: "i", Value: serieskey.IntValue(i)}}}.String()
		h := fnv.New64a()
		_, _ = h.Write([]byte(text)) // it never fails
		if h.Sum64()%shardCount == 0 {
			s.Inc(text)
			flooded++
		}
	}
	largest := 0
	for i := range s.shards {
		largest = max(largest, len(s.shards[i].totals))
	}
	mean := float64(keys) / shardCount
	assert.Less(t, float64(largest), 1.5*mean)
	sum, kept := balanceOf(t, s), len(listOf(t, s))
	assert.Equal(t, keys, kept)
	evidence.Report(t, evidence.Figure{
		Rows: []int{69}, Claim: "keys that all fall into one of 64 shards under FNV-1a are spread evenly",
		Rounds: keys, Unit: "keys", Fired: flooded, Counts: int64(keys), Lost: int64(keys - sum),
		Note: fmt.Sprintf("the fullest shard has %d, the mean is %.0f", largest, mean),
	})
}
