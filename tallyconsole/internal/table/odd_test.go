// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
)

// Whatever a store says of its keys (totals below 0, no times, a key several times in a listing), each is there once,
// with a total of 0 or more.
func TestOddTotals(t *testing.T) {
	r := evidence.Random(evidence.Seed(t))
	values := []int{0, 1, 7, -1, -2, -3, math.MinInt, math.MaxInt >> 20}
	for range evidence.Rounds(300, 10_000) {
		b := NewBuilder(10)
		now := time.Unix(1_700_000_000, 0)
		for range 1 + r.IntN(4) {
			now = now.Add(2 * time.Second)
			b.Begin()
			last := map[string]int{}
			for range r.IntN(10) {
				key := fmt.Sprintf(`["m",{},{"a":%d}]`, r.IntN(4))
				last[key] = values[r.IntN(len(values))]
				began := time.Time{}
				if r.IntN(2) == 0 {
					began = now.Add(-time.Second)
				}
				b.Add(key, last[key], began, began)
			}
			s := b.End(now, true)
			assert.Equal(t, len(last), s.Keys)
			check(t, s, last)
		}
	}
}

func check(t *testing.T, s *Snapshot, want map[string]int) {
	t.Helper()
	m, ok := s.Metrics["m"]
	if !ok {
		assert.Empty(t, want)
		return
	}
	for row, value := range m.Values {
		if value != Gone {
			assert.Equal(t, max(0, want[m.Keys[row]]), value)
			assert.GreaterOrEqual(t, m.Starts[row], int64(0), "a time that is not known is 0")
		}
	}
}

// A key that a listing has several times grows once, by what it has grown to in the last of them.
func TestKeysListedTwice(t *testing.T) {
	r := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(300, 10_000) {
		b := NewBuilder(10)
		now := time.Unix(1_700_000_000, 0)
		first, last := 1+r.IntN(100), 0
		for sample := range 2 {
			b.Begin()
			total := first + sample*r.IntN(100)
			for range 1 + r.IntN(4) {
				b.Add(`["m",{},{}]`, total, now, now)
				last = total
				total += r.IntN(10)
			}
			if sample == 0 {
				first = last
			}
			s := b.End(now.Add(2*time.Second), true)
			if grown := last - first; sample == 1 && grown >= 0 {
				m := s.Metrics["m"]
				rate := 0.
				if slot := m.Slots[0]; slot >= 0 {
					rate = float64(s.Rates.PerSecond[rates.TenSeconds][slot])
				}
				assert.InDelta(t, float64(grown), rate*s.Rates.Covered[rates.TenSeconds].Seconds(), 1e-3)
			}
			now = now.Add(2 * time.Second)
		}
	}
}
