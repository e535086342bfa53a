// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// model is the plain version: what a Table must say.
func checkAgainstModel(t *testing.T, table *Table, next func() (string, int64), adds int) {
	t.Helper()
	model, records := map[string]int64{}, map[string]int64{}
	for range adds {
		identity, n := next()
		i, ok := table.Add([]byte(identity), Sums{Records: 1, Amount: n})
		assert.True(t, ok)
		records[identity]++
		model[identity] += n
		got, sums := table.Entry(i)
		assert.Equal(t, identity, string(got))
		assert.Equal(t, Sums{Records: records[identity], Amount: model[identity]}, sums)
	}
	assert.Equal(t, len(model), table.Len())
	for i := range table.Len() {
		identity, sums := table.Entry(i)
		assert.Equal(t, model[string(identity)], sums.Amount, "%q", identity)
		delete(model, string(identity))
	}
	assert.Empty(t, model)
}

func TestTableAgainstMap(t *testing.T) {
	for _, distinct := range []int{1, 31, 32, 33, 5000} {
		t.Run(fmt.Sprint(distinct), func(t *testing.T) {
			table := NewTable()
			random := rand.New(rand.NewPCG(1, uint64(distinct)))
			next := func() (string, int64) { return fmt.Sprint(random.IntN(distinct)), random.Int64N(5) }
			for range 3 { // reused as in steady state
				checkAgainstModel(t, table, next, 2*distinct)
				table.Reset()
				assert.Zero(t, table.Len())
			}
		})
	}
}

// A hash is a shortcut to an identity, never the identity: with a hash that sends everything to one slot, and with
// one that leaves only two values, no two identities merge.
func TestCollidingHashesDoNotMerge(t *testing.T) {
	for name, hash := range map[string]func([]byte) uint64{
		"all equal":    func([]byte) uint64 { return 7 },
		"one bit left": func(b []byte) uint64 { return uint64(len(b) & 1) },
		"last slot":    func([]byte) uint64 { return ^uint64(0) },
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			checkAgainstModel(t, NewTableWithHash(hash), func() (string, int64) { n++; return fmt.Sprint(n % 300), 1 }, 900)
		})
	}
}

func TestEmptyIdentity(t *testing.T) {
	table := NewTable()
	table.Add(nil, Sums{1, 2})
	table.Add([]byte{}, Sums{1, 3})
	assert.Equal(t, 1, table.Len())
	_, sums := table.Entry(0)
	assert.Equal(t, Sums{Records: 2, Amount: 5}, sums)
}

// What would pass the largest int64 is refused as a whole, and changes nothing.
func TestAmountsDoNotOverflow(t *testing.T) {
	table := NewTable()
	_, ok := table.Add([]byte("x"), Sums{1, math.MaxInt64 - 1})
	assert.True(t, ok)
	i, ok := table.Add([]byte("x"), Sums{1, 2})
	assert.False(t, ok)
	_, sums := table.Entry(i)
	assert.Equal(t, Sums{1, math.MaxInt64 - 1}, sums)
	_, ok = table.Add([]byte("x"), Sums{1, 1})
	assert.True(t, ok)
}

func TestResetGivesSurplusBack(t *testing.T) {
	table := NewTable()
	big := make([]byte, keepArena+1)
	table.Add(big, Sums{1, 1})
	for i := range 10_000 {
		table.Add(fmt.Append(nil, i), Sums{1, 1})
	}
	grown := len(table.slots)
	for range 20 {
		table.Reset()
		table.Add([]byte("x"), Sums{1, 1})
	}
	assert.Less(t, len(table.slots), grown/8)
	assert.LessOrEqual(t, cap(table.arena), keepArena)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	table := NewTable()
	identities := make([][]byte, 1000)
	for i := range identities {
		identities[i] = fmt.Append(nil, i)
	}
	batch := func() {
		for _, identity := range identities {
			table.Add(identity, Sums{1, 1})
		}
		table.Reset()
	}
	batch()
	assert.Zero(t, testing.AllocsPerRun(20, batch))
}

func TestSeedsDiffer(t *testing.T) {
	a, b := NewTable(), NewTable()
	same := 0
	for i := range 64 {
		identity := fmt.Append(nil, i)
		if a.hash(identity) == b.hash(identity) {
			same++
		}
	}
	assert.Less(t, same, 64)
}

// What is appended stands beside what is added, in the order in which both came, and is not looked for; slots that grow
// hold what was added only, and Reset leaves neither.
func TestAppendBesideAdd(t *testing.T) {
	table := NewTable()
	for range 3 { // reused as in steady state
		var want []string
		for i := range 2000 {
			appended := fmt.Append(nil, "appended ", i)
			table.Append(appended, Sums{int64(i), int64(2 * i)})
			clear(appended) // it was copied
			want = append(want, fmt.Sprint("appended ", i))
			if i%3 == 0 {
				n, ok := table.Add(fmt.Append(nil, "added ", i), Sums{1, 5})
				assert.True(t, ok)
				assert.Equal(t, len(want), n)
				want = append(want, fmt.Sprint("added ", i))
			}
		}
		assert.Equal(t, len(want), table.Len())
		for i, text := range want { // a second time, behind the last Append
			if i%500 == 0 {
				table.Append(fmt.Append(nil, "late ", i), Sums{})
			}
			if text[:5] == "added" {
				n, ok := table.Add([]byte(text), Sums{1, 5})
				assert.True(t, ok)
				assert.Equal(t, i, n)
			}
		}
		for i, text := range want {
			identity, sums := table.Entry(i)
			assert.Equal(t, text, string(identity))
			expected := Sums{2, 10}
			var number int64
			if _, err := fmt.Sscanf(text, "appended %d", &number); err == nil {
				expected = Sums{number, 2 * number}
			}
			assert.Equal(t, expected, sums, text)
		}
		table.Reset()
		assert.Zero(t, table.Len())
	}
	n, _ := table.Add([]byte("added 0"), Sums{1, 1})
	_, sums := table.Entry(n)
	assert.Equal(t, Sums{1, 1}, sums)
	assert.Equal(t, 1, table.Len())
}

// Slots grow with what was added: batches that append only leave them as they are.
func TestAppendTakesNoSlot(t *testing.T) {
	table := NewTable()
	for i := range 1000 {
		table.Append(fmt.Append(nil, i), Sums{1, 1})
	}
	assert.Len(t, table.slots, minSlots)
	for _, slot := range table.slots {
		assert.Zero(t, slot)
	}
}
