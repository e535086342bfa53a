// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/capability"
)

// On each stream the sketch holds what it promises, checked against exact counts: no estimate is below the truth, none
// is further above it than it says, none says more than 3.5/1024 of the stream, and no key above that share is missing.
func TestSketchAgainstExactCounts(t *testing.T) {
	const notes = 200_000
	streams := map[string]func(r *rand.Rand) func(i int) (string, int){
		"Zipf": func(r *rand.Rand) func(int) (string, int) {
			zipf := rand.NewZipf(r, 1.1, 1, 1_000_000)
			return func(int) (string, int) { return fmt.Sprint(zipf.Uint64()), 1 }
		},
		"all distinct, then a heavy one": func(*rand.Rand) func(int) (string, int) {
			return func(i int) (string, int) {
				if i > notes*9/10 {
					return "heavy", 1
				}
				return fmt.Sprint(i), 1
			}
		},
		"a heavy one, then a flood that would push it out": func(*rand.Rand) func(int) (string, int) {
			return func(i int) (string, int) {
				if i < notes/50 {
					return "heavy", 1
				}
				return fmt.Sprint(i), 1
			}
		},
		"as many as there are slots, in turn": func(*rand.Rand) func(int) (string, int) {
			return func(i int) (string, int) { return fmt.Sprint(i % (sketchSize + 1)), 1 }
		},
		"weights of bytes": func(r *rand.Rand) func(int) (string, int) {
			return func(int) (string, int) { return fmt.Sprint(r.IntN(5000)), 1 + r.IntN(1<<r.IntN(20)) }
		},
	}
	for name, stream := range streams {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("seed", seed)
			next := stream(rand.New(rand.NewPCG(seed, 0)))
			var keeper overflowKeeper
			exact, weight := map[string]int{}, 0
			for i := range notes {
				key, n := next(i)
				keeper.Overflowed("m", key, n)
				exact[key] += n
				weight += n
			}
			bound := int(math.Ceil(3.5 / sketchSize * float64(weight)))
			list := keeper.Overflows("m", math.MaxInt)
			require.LessOrEqual(t, len(list), sketchSize)
			found := map[string]bool{}
			worst := 0
			for i, o := range list {
				found[o.Key] = true
				worst = max(worst, o.MaxError)
				assert.GreaterOrEqual(t, o.Estimate, exact[o.Key], o.Key)
				assert.LessOrEqual(t, o.Estimate-o.MaxError, exact[o.Key], o.Key)
				assert.LessOrEqual(t, o.MaxError, bound, o.Key)
				assert.True(t, i == 0 || list[i-1].Estimate >= o.Estimate, "in descending order")
			}
			for key, n := range exact {
				assert.True(t, n <= bound || found[key], "%s has %d of %d and is missing", key, n, weight)
			}
			t.Logf("%d distinct keys, the largest error is %.3f %% of the stream; %.3f %% is the bound",
				len(exact), 100*float64(worst)/float64(weight), 350.0/sketchSize)
		})
	}
}

func TestSketchAtItsEdges(t *testing.T) {
	s := New()
	assert.Empty(t, s.Overflows("never", 3))
	s.Overflowed("m", "a", math.MaxInt-1)
	s.Overflowed("m", "b", 2)
	s.Overflowed("m", "c", 0)
	s.Overflowed("other", "a", 1)
	assert.Equal(t, []capability.Overflow{{Key: "a", Estimate: math.MaxInt - 1}}, s.Overflows("m", 3), "it ends before it wraps")
	assert.Empty(t, s.Overflows("m", 0))
	assert.Equal(t, []capability.Overflow{{Key: "a", Estimate: 1}}, s.Overflows("other", 1))
}

func BenchmarkOverflowed(b *testing.B) {
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprintf(`["m",{"service.name":"checkout"},{"user":"user-%d"}]`, i)
	}
	var keeper overflowKeeper
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		keeper.Overflowed("m", keys[i%len(keys)], 1)
	}
}
