// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"hash/maphash"
	"math/bits"
)

// hasher hashes the values of records. Its seed is random, so that nobody can choose values that collide; if somebody
// could, a batch would take longer and count the same.
type hasher struct {
	seed maphash.Seed
	a, b uint64

	override func(string) uint64 // of a test
}

func newHasher() hasher {
	seed := maphash.MakeSeed()
	return hasher{seed: seed, a: maphash.String(seed, "a"), b: maphash.String(seed, "b")}
}

// text hashes a string. One of up to 16 bytes, as most values are, is read as two words, which may overlap, and hashed
// by a multiplication whose two halves are put together: so does wyhash (github.com/wangyi-fudan/wyhash), in a third of
// the time that maphash takes to be called.
func (h *hasher) text(s string) uint64 {
	n := len(s)
	if n > 16 || h.override != nil {
		return h.long(s)
	}
	var a, b uint64
	switch {
	case n >= 8:
		a, b = word64(s), word64(s[n-8:])
	case n >= 4:
		a, b = word32(s), word32(s[n-4:])
	case n > 0:
		a = uint64(s[0])<<16 | uint64(s[n/2])<<8 | uint64(s[n-1])
	}
	return h.words(a, b^uint64(n)<<56)
}

func (h *hasher) long(s string) uint64 {
	if h.override != nil {
		return h.override(s)
	}
	return maphash.String(h.seed, s)
}

// number hashes a number of a kind.
func (h *hasher) number(n uint64, kind Kind) uint64 {
	if h.override != nil {
		return h.override("")
	}
	return h.words(n, uint64(kind))
}

func (h *hasher) words(a, b uint64) uint64 {
	high, low := bits.Mul64(a^h.a, b^h.b)
	return high ^ low
}

// word64 returns the first 8 bytes of s; the compiler makes one load of it.
func word64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// word32 returns the first 4 bytes of s.
func word32(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
