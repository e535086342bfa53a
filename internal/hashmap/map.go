// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package hashmap finds values by keys of bytes, in a third of the memory that a Go map takes for a few words each.
package hashmap

import (
	"hash/maphash"
	"slices"
)

// minSlots is the size an Map starts with; a power of two, as every size is.
const minSlots = 16

// Map is a map from keys to values: a dense list of entries, and an open-addressed table that says which entry a key
// has. A hash only finds the place; the key's own bytes decide. It can be read by several goroutines while none writes.
//
// The zero Map is not usable; make one with New.
type Map[V any] struct {
	hash    func([]byte) uint64
	entries []entry[V]
	slots   []slot // linear probing; at most three quarters are taken
	scratch []byte // of who writes
}

type entry[V any] struct {
	value V // first, since nothing at the end would take space
	key   string
}

// slot has a part of the key's hash beside the number of its entry, so that an entry which is not meant is seldom
// looked at.
type slot struct {
	check uint32 // the upper half of the hash; the lower says where the search begins
	entry uint32 // 1 + an index into entries, 0 = free
}

// New returns an empty Map whose hash is seeded at random, so that nobody can choose keys that collide.
func New[V any]() *Map[V] {
	seed := maphash.MakeSeed()
	return NewWithHash[V](func(key []byte) uint64 { return maphash.Bytes(seed, key) })
}

// NewWithHash returns an empty Map with a hash of the caller's: a test can make all keys collide.
func NewWithHash[V any](hash func([]byte) uint64) *Map[V] {
	return &Map[V]{hash: hash, slots: make([]slot, minSlots)}
}

// Len returns the number of keys.
func (x *Map[V]) Len() int { return len(x.entries) }

// Get returns the value of a key, the key itself, which is safe to keep, and whether there is one. It keeps nothing of
// key.
func (x *Map[V]) Get(key []byte) (value V, kept string, found bool) {
	at, found := x.find(key)
	if !found {
		return value, "", false
	}
	e := &x.entries[x.slots[at].entry-1]
	return e.value, e.key, true
}

// Hash returns the hash of a key, for Fetch and GetHashed.
func (x *Map[V]) Hash(key []byte) uint64 { return x.hash(key) }

// Fetch reads what GetHashed will need for some keys, whose hashes it is given, and appends to dst something of it. In
// a large Map nearly each read is a miss of the CPU's caches, of which it can wait for many at once, if nothing else
// stands between them.
func (x *Map[V]) Fetch(dst []uint32, hashes []uint64) []uint32 {
	mask := len(x.slots) - 1
	for _, h := range hashes {
		dst = append(dst, x.slots[int(h)&mask].entry)
	}
	for i, n := range dst {
		if n > 0 {
			dst[i] = uint32(len(x.entries[n-1].key))
		}
	}
	return dst
}

// GetHashed is Get for a key whose hash is known.
func (x *Map[V]) GetHashed(key []byte, hash uint64) (value V, found bool) {
	at, found := x.findHashed(key, hash)
	if !found {
		return value, false
	}
	return x.entries[x.slots[at].entry-1].value, true
}

// Put sets the value of a key, which is kept.
func (x *Map[V]) Put(key string, value V) {
	b := x.bytes(key)
	h := x.hash(b)
	at, found := x.findHashed(b, h)
	if found {
		x.entries[x.slots[at].entry-1].value = value
		return
	}
	x.entries = append(x.entries, entry[V]{value, key})
	x.slots[at] = slot{uint32(h >> 32), uint32(len(x.entries))}
	if len(x.entries) > len(x.slots)/4*3 {
		x.resize(2 * len(x.slots))
	}
}

// Reserve makes room for n further keys at once, which takes a fraction of the time of growing step by step.
func (x *Map[V]) Reserve(n int) {
	x.entries = slices.Grow(x.entries, n)
	slots := len(x.slots)
	for slots/4*3 < len(x.entries)+n {
		slots *= 2
	}
	if slots > len(x.slots) {
		x.resize(slots)
	}
}

// Delete removes a key if it is there.
func (x *Map[V]) Delete(key string) {
	at, found := x.find(x.bytes(key))
	if !found {
		return
	}
	removed, last := x.slots[at].entry-1, len(x.entries)-1
	if int(removed) != last { // the last entry takes its place
		moved, _ := x.find(x.bytes(x.entries[last].key))
		x.slots[moved].entry = removed + 1
		x.entries[removed] = x.entries[last]
	}
	x.entries[last] = entry[V]{}
	x.entries = x.entries[:last]
	x.free(at)
}

// bytes returns the bytes of a key until the next call. Only who writes may call it.
func (x *Map[V]) bytes(key string) []byte {
	x.scratch = append(x.scratch[:0], key...)
	return x.scratch
}

// find returns the slot of a key, or the free one where it belongs.
func (x *Map[V]) find(key []byte) (at int, found bool) { return x.findHashed(key, x.hash(key)) }

func (x *Map[V]) findHashed(key []byte, h uint64) (at int, found bool) {
	mask := len(x.slots) - 1
	for at = int(h) & mask; ; at = (at + 1) & mask {
		s := x.slots[at]
		if s.entry == 0 {
			return at, false
		}
		if s.check == uint32(h>>32) && x.entries[s.entry-1].key == string(key) {
			return at, true
		}
	}
}

// free empties a slot, and moves back those behind it that a search would not come to any more (Knuth, The Art of
// Computer Programming, volume 3, section 6.4, algorithm R).
func (x *Map[V]) free(at int) {
	mask := len(x.slots) - 1
	for next := (at + 1) & mask; x.slots[next].entry != 0; next = (next + 1) & mask {
		home := int(x.hash(x.bytes(x.entries[x.slots[next].entry-1].key))) & mask
		if (next-home)&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = slot{}
}

func (x *Map[V]) resize(slots int) {
	x.slots = make([]slot, slots)
	mask := len(x.slots) - 1
	for n := range x.entries {
		h := x.hash(x.bytes(x.entries[n].key))
		at := int(h) & mask
		for x.slots[at].entry != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = slot{uint32(h >> 32), uint32(n + 1)}
	}
}
