// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package hashmap

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An Map does what a map does, whatever its hash, over any sequence of operations.
func TestIndexIsAMap(t *testing.T) {
	seed := maphash.MakeSeed()
	for name, hash := range map[string]func([]byte) uint64{
		"random":     func(b []byte) uint64 { return maphash.Bytes(seed, b) },
		"colliding":  func([]byte) uint64 { return 7 },
		"at the end": func(b []byte) uint64 { return uint64(len(b)) - 3 }, // probing wraps around
		"few":        func(b []byte) uint64 { return maphash.Bytes(seed, b) % 5 },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			x, want := NewWithHash[int](hash), map[string]int{}
			for step := range 20_000 {
				key := fmt.Sprint(random.IntN(1 + step%300))
				switch random.IntN(3) {
				case 0:
					x.Delete(key)
					delete(want, key)
				default:
					x.Put(key, step)
					want[key] = step
				}
				require.Equal(t, len(want), x.Len())
				probe := fmt.Sprint(random.IntN(300))
				value, kept, found := x.Get([]byte(probe))
				wanted, there := want[probe]
				require.Equal(t, there, found, probe)
				require.Equal(t, wanted, value)
				if found {
					require.Equal(t, probe, kept)
				}
			}
			for key, value := range want {
				got, _, _ := x.Get([]byte(key))
				require.Equal(t, value, got)
			}
		})
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	x := New[struct{}]()
	for n := range 1000 {
		x.Put(fmt.Sprint(n), struct{}{})
	}
	key := []byte("500")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, _, found := x.Get(key); !found {
			t.Error("lost")
		}
	}))
}
