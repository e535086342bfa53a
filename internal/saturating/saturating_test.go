// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package saturating

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A sum is that of exact arithmetic, as far as its type goes.
func TestAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	any63 := func() int64 { return r.Int64() >> r.IntN(64) } // of any magnitude
	edges := []int64{0, 1, math.MaxInt64 - 1, math.MaxInt64}
	for range 10_000 {
		a, b := any63(), any63()
		switch r.IntN(3) {
		case 0:
			b = math.MaxInt64 - a + int64(r.IntN(3)) - 1 // about the largest
			b = max(b, 0)
		case 1:
			a, b = edges[r.IntN(len(edges))], edges[r.IntN(len(edges))]
		}
		exact := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		want := int64(math.MaxInt64)
		if exact.IsInt64() {
			want = exact.Int64()
		}
		sum, fits := Add(a, b)
		assert.Equal(t, want, sum, "%d + %d", a, b)
		assert.Equal(t, exact.IsInt64(), fits, "%d + %d", a, b)
		if a <= math.MaxInt && b <= math.MaxInt {
			inInt, _ := Add(int(a), int(b))
			assert.EqualValues(t, min(sum, math.MaxInt), inInt)
		}
	}
}

func TestAllocAdd(t *testing.T) {
	total := math.MaxInt / 2
	assert.Zero(t, testing.AllocsPerRun(100, func() { total, _ = Add(total, total) }))
}
