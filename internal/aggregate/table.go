// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package aggregate sums records and amounts by identity, so that a batch of thousands of records becomes a handful of
// numbers before anything shared is touched.
package aggregate

import (
	"bytes"
	"hash/maphash"
)

// minSlots is the size a Table starts with; a power of two, as every size is. 64 slots (256 bytes) hold what a batch
// usually folds into.
const minSlots = 64

// keepArena is how many bytes of identities a Table keeps from one batch to the next; one that needed more gives
// the surplus back, so that one odd batch does not hold its memory for ever.
const keepArena = 1 << 20

// Table sums records and their amounts by identity. A hash only finds the slot; the identity's own bytes decide, so
// that identities whose hashes collide stay apart. It allocates nothing once it has grown to the size of the batches it
// sees.
//
// The zero Table is not usable; make one with NewTable. A Table is not safe for concurrent use.
type Table struct {
	hash func([]byte) uint64

	arena   []byte // the identities, end to end
	entries []entry
	slots   []int32 // open addressing with linear probing: 1 + an index into entries, 0 = free
}

type entry struct {
	hash       uint64
	start, end int
	Sums
	appended bool // it has no slot
}

// Sums are what was added to one identity.
type Sums struct {
	Records int64
	Amount  int64
}

// NewTable returns an empty Table whose hash is seeded at random, so that nobody can choose identities that collide.
func NewTable() *Table {
	seed := maphash.MakeSeed()
	return NewTableWithHash(func(b []byte) uint64 { return maphash.Bytes(seed, b) })
}

// NewTableWithHash returns an empty Table with a hash of the caller's: a test can make all identities collide.
func NewTableWithHash(hash func([]byte) uint64) *Table {
	return &Table{hash: hash, slots: make([]int32, minSlots)}
}

// Add adds to an identity and returns the index of its entry; neither number may be negative. It copies identity when
// it is new and keeps nothing of it. When the sum of the amounts would pass the largest int64 it adds nothing, and ok
// is false.
func (t *Table) Add(identity []byte, add Sums) (index int, ok bool) {
	h := t.hash(identity)
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for ; t.slots[i] != 0; i = (i + 1) & mask {
		e := &t.entries[t.slots[i]-1]
		if e.hash == h && bytes.Equal(t.arena[e.start:e.end], identity) {
			sum := e.Amount + add.Amount
			if sum < 0 {
				return int(t.slots[i] - 1), false
			}
			e.Records, e.Amount = e.Records+add.Records, sum
			return int(t.slots[i] - 1), true
		}
	}
	start := len(t.arena)
	t.arena = append(t.arena, identity...)
	t.entries = append(t.entries, entry{hash: h, start: start, end: len(t.arena), Sums: add})
	t.slots[i] = int32(len(t.entries))
	if len(t.entries) > len(t.slots)/2 {
		t.grow()
	}
	return len(t.entries) - 1, true
}

// Append adds an identity that is new for sure, and that no Add or Append will be given again before Reset: what those
// have to look for is not looked for here. It copies identity.
func (t *Table) Append(identity []byte, sums Sums) {
	start := len(t.arena)
	t.arena = append(t.arena, identity...)
	t.entries = append(t.entries, entry{start: start, end: len(t.arena), Sums: sums, appended: true})
}

func (t *Table) grow() {
	t.slots = make([]int32, 2*len(t.slots))
	mask := uint64(len(t.slots) - 1)
	for n, e := range t.entries {
		if e.appended {
			continue
		}
		i := e.hash & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = int32(n + 1)
	}
}

// Len returns the number of distinct identities.
func (t *Table) Len() int { return len(t.entries) }

// Entry returns the identity and the sums of entry i, in the order in which identities were first added. The
// identity is valid until the next Add or Reset and must not be changed.
func (t *Table) Entry(i int) (identity []byte, sums Sums) {
	e := &t.entries[i]
	return t.arena[e.start:e.end], e.Sums
}

// Reset empties the Table and keeps its memory for the next batch, up to a bound.
func (t *Table) Reset() {
	if len(t.slots) > minSlots && len(t.entries) < len(t.slots)/16 {
		t.slots = make([]int32, len(t.slots)/2) // clearing it would cost more than the batches need
	} else {
		clear(t.slots)
	}
	if cap(t.arena) > keepArena {
		t.arena, t.entries = nil, nil
	}
	t.arena, t.entries = t.arena[:0], t.entries[:0]
}
