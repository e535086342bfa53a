// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLimitAtItsEdge(t *testing.T) {
	for _, limit := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			l := New(NewKeys(), limit, "last")
			for i := range limit {
				key := fmt.Sprint("key", i)
				assert.Equal(t, Verdict{Key: key, New: true}, l.Admit([]byte(key), []byte("over"), nil))
				assert.Equal(t, Verdict{Key: key}, l.Admit([]byte(key), []byte("over"), nil))
			}
			// n+1: one overflow key for each resource, as many as the limit
			for i := range limit {
				over := fmt.Sprint("over", i)
				assert.Equal(t, Verdict{Key: over, New: true, Overflowed: true}, l.Admit([]byte("more"), []byte(over), nil))
				assert.Equal(t, Verdict{Key: over, Overflowed: true}, l.Admit([]byte("even more"), []byte(over), nil))
			}
			// 2n+1: the last key
			assert.Equal(t, Verdict{Key: "last", New: true, Overflowed: true}, l.Admit([]byte("more"), []byte("overN"), nil))
			assert.Equal(t, Verdict{Key: "last", Overflowed: true}, l.Admit([]byte("more"), []byte("overM"), nil))
			// who was admitted stays under its own name
			assert.Equal(t, Verdict{Key: "key0"}, l.Admit([]byte("key0"), []byte("over"), nil))
			keys, overflow := l.Len()
			assert.Equal(t, limit, keys)
			assert.Equal(t, limit+1, overflow)
		})
	}
}

func TestNoLimit(t *testing.T) {
	l := New(NewKeys(), 0, "last")
	for i := range 1000 {
		assert.False(t, l.Admit(fmt.Append(nil, i), []byte("over"), nil).Overflowed)
	}
	keys, overflow := l.Len()
	assert.Equal(t, 1000, keys)
	assert.Zero(t, overflow)
}

func TestOverflowWithoutResource(t *testing.T) {
	l := New(NewKeys(), 1, "last")
	l.Admit([]byte("a"), []byte("last"), nil)
	assert.Equal(t, Verdict{Key: "last", New: true, Overflowed: true}, l.Admit([]byte("b"), []byte("last"), nil))
	assert.Equal(t, Verdict{Key: "last", Overflowed: true}, l.Admit([]byte("c"), []byte("last"), nil))
	_, overflow := l.Len()
	assert.Equal(t, 1, overflow)
}

func TestTooLongKeys(t *testing.T) {
	l := New(NewKeys(), 10, "last")
	assert.Equal(t, Verdict{Key: "over", New: true, Overflowed: true}, l.Overflow([]byte("over"), nil))
	assert.Equal(t, Verdict{Key: "over", Overflowed: true}, l.Overflow([]byte("over"), nil))
	assert.Equal(t, Verdict{Key: "last", New: true, Overflowed: true}, l.Overflow([]byte("last"), nil))
	assert.Equal(t, Verdict{Key: "last", Overflowed: true}, l.Overflow([]byte("last"), nil))
}

// Without a limit what is too long has an overflow key for each resource.
func TestTooLongKeysWithoutALimit(t *testing.T) {
	l := New(NewKeys(), 0, "last")
	for i := range 10 {
		over := fmt.Sprint("over", i)
		assert.Equal(t, Verdict{Key: over, New: true, Overflowed: true}, l.Overflow([]byte(over), nil))
	}
}

// What is restored is known, each in its place; what is forgotten is new again, and has left its place to another.
func TestRestoreAndForget(t *testing.T) {
	l := New(NewKeys(), 1, "last")
	l.Restore("a", false)
	l.Restore("over", true)
	l.Restore("last", true)
	keys, overflow := l.Len()
	assert.Equal(t, 1, keys)
	assert.Equal(t, 2, overflow)
	assert.Equal(t, Verdict{Key: "a"}, l.Admit([]byte("a"), []byte("over"), nil))
	assert.Equal(t, Verdict{Key: "over", Overflowed: true}, l.Admit([]byte("b"), []byte("over"), nil))
	assert.Equal(t, Verdict{Key: "last", Overflowed: true}, l.Admit([]byte("b"), []byte("over2"), nil))

	l.Forget("last", func(string) bool { return true })
	_, overflow = l.Len()
	assert.Equal(t, 1, overflow)
	assert.Equal(t, Verdict{Key: "last", New: true, Overflowed: true}, l.Admit([]byte("b"), []byte("over2"), nil))
	l.Forget("over", func(string) bool { return true })
	assert.Equal(t, Verdict{Key: "over2", New: true, Overflowed: true}, l.Admit([]byte("b"), []byte("over2"), nil))
	l.Forget("a", func(string) bool { return true })
	assert.Equal(t, Verdict{Key: "b", New: true}, l.Admit([]byte("b"), []byte("over"), nil))
}

// Whoever comes first, each key is new exactly once and the limit holds.
func TestConcurrentAdmit(t *testing.T) {
	const limit, distinct = 50, 200
	l := New(NewKeys(), limit, "last")
	var mu sync.Mutex
	isNew := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range distinct {
				v := l.Admit(fmt.Append(nil, "key", i), fmt.Append(nil, "over", i%80), nil)
				if v.New {
					mu.Lock()
					isNew[v.Key]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	keys, overflow := l.Len()
	assert.Equal(t, limit, keys)
	assert.Len(t, isNew, keys+overflow)
	for key, times := range isNew {
		assert.Equal(t, 1, times, key)
	}
	assert.LessOrEqual(t, overflow, limit+1)
}

func TestKnownKeyDoesNotAllocate(t *testing.T) {
	l := New(NewKeys(), 1, "last")
	key, other, over := []byte("key"), []byte("other"), []byte("over")
	l.Admit(key, over, nil)
	l.Admit(other, over, nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, known := l.Lookup(key, nil); !known {
			t.Error("admitted key is not known")
		}
		if _, known := l.Lookup(other, nil); known {
			t.Error("overflowed key is known")
		}
		l.Admit(other, over, nil)
	}))
}
