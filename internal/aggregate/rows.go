// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"math/bits"
)

// Lanes is how many records are looked at together: as many as a word has bits, so that a set of them is a word.
const Lanes = 64

// Kind is the type of a Value.
type Kind uint8

// The kinds of a Value.
const (
	Absent Kind = iota
	String
	Int
	Double
	Bool
)

// Value is one value of a record.
type Value struct {
	Text string // of a String
	Bits uint64 // of the int64, the float64 or the bool; of a String 1 if it was cut
	Kind Kind
}

// Column holds the values of one attribute, a lane for each record. The zero Column holds no value.
type Column struct {
	Values [Lanes]Value
	hashes [Lanes]uint64
}

// Rows sums records and their amounts by the values of a few attributes. It is the quick look that spares nearly every
// record the way through a Table: it compares values as they are, and makes no bytes of them. As in a Table, a hash
// only finds the slot.
//
// The zero Rows is not usable; make one with NewRows. It is not safe for concurrent use.
type Rows struct {
	hasher hasher

	values []Value // of all rows, end to end
	rows   []row
	slots  []slot // open addressing with linear probing
	shift  int    // the upper bits of a hash, behind it, are the slot where the search begins
}

// slot has the lower half of a row's hash beside its number, so that a row that is not meant is seldom looked at.
type slot struct {
	check uint32
	row   uint32 // 1 + an index into rows, 0 = free
}

type row struct {
	hash  uint64
	group uint64
	start int // of its values
	Sums
}

// NewRows returns an empty Rows whose hash is seeded at random.
func NewRows() *Rows { return NewRowsWithHash(nil) }

// NewRowsWithHash returns an empty Rows with a hash of the caller's: a test can make all texts collide.
func NewRowsWithHash(hash func(string) uint64) *Rows {
	r := &Rows{hasher: newHasher()}
	r.hasher.override = hash
	r.setSlots(make([]slot, minSlots))
	return r
}

func (r *Rows) setSlots(slots []slot) {
	r.slots, r.shift = slots, 64-bits.TrailingZeros(uint(len(slots)))
}

// mixer is an odd number whose bits look random: 2^64 divided by the golden ratio (Knuth, The Art of Computer
// Programming, volume 3, section 6.4).
const mixer = 0x9e3779b97f4a7c15

// mix puts a hash behind others. A product carries upwards only, hence the rotation.
func mix(h, next uint64) uint64 { return (bits.RotateLeft64(h, 27) ^ next) * mixer }

// SetText sets a lane of a column to a String. Text is kept.
func (r *Rows) SetText(c *Column, lane int, text string, wasCut bool) {
	v := &c.Values[lane]
	v.Text, v.Bits, v.Kind = text, 0, String
	if wasCut {
		v.Bits = 1
	}
	c.hashes[lane] = r.hasher.text(text)
}

// Set sets a lane of a column to a value that is not a String.
func (r *Rows) Set(c *Column, lane int, kind Kind, value uint64) {
	v := &c.Values[lane]
	v.Text, v.Bits, v.Kind = "", value, kind
	c.hashes[lane] = r.hasher.number(value, kind)
}

// Copy sets a lane of a column to that of another.
func (c *Column) Copy(lane int, from *Column, fromLane int) {
	c.Values[lane], c.hashes[lane] = from.Values[fromLane], from.hashes[fromLane]
}

// Add adds the records of the selected lanes to the rows of a group, each of which has a value of each of columns. A
// nil amounts is 1 for each record; the sum of the amounts must not pass the largest int64.
func (r *Rows) Add(group uint64, columns []*Column, selected uint64, amounts *[Lanes]int64) {
	start := mix(r.hasher.a, group)
	for ; selected != 0; selected &= selected - 1 {
		lane := bits.TrailingZeros64(selected)
		h := start
		for _, c := range columns {
			h = mix(h, c.hashes[lane])
		}
		found := r.find(h, group, columns, lane)
		found.Records++
		if amounts == nil {
			found.Amount++
		} else {
			found.Amount += amounts[lane]
		}
	}
}

// find returns the row of a lane, which it makes if need be. It is valid until the next one is made.
func (r *Rows) find(h, group uint64, columns []*Column, lane int) *row {
	mask := len(r.slots) - 1
	i := int(h >> r.shift)
	for {
		s := r.slots[i&mask]
		if s.row == 0 {
			return r.insert(i&mask, h, group, columns, lane)
		}
		if s.check == uint32(h) {
			if found := &r.rows[s.row-1]; found.group == group && r.equal(found.start, columns, lane) {
				return found
			}
		}
		i++
	}
}

func (r *Rows) equal(start int, columns []*Column, lane int) bool {
	values := r.values[start:]
	for k, c := range columns {
		a, b := &values[k], &c.Values[lane]
		if a.Bits != b.Bits || a.Kind != b.Kind || a.Text != b.Text {
			return false
		}
	}
	return true
}

func (r *Rows) insert(at int, h, group uint64, columns []*Column, lane int) *row {
	start := len(r.values)
	for _, c := range columns {
		r.values = append(r.values, c.Values[lane])
	}
	r.rows = append(r.rows, row{hash: h, group: group, start: start})
	r.slots[at] = slot{uint32(h), uint32(len(r.rows))}
	if len(r.rows) > len(r.slots)/2 {
		r.grow()
	}
	return &r.rows[len(r.rows)-1]
}

func (r *Rows) grow() {
	r.setSlots(make([]slot, 2*len(r.slots)))
	mask := len(r.slots) - 1
	for n := range r.rows {
		h := r.rows[n].hash
		i := int(h >> r.shift)
		for r.slots[i&mask].row != 0 {
			i++
		}
		r.slots[i&mask] = slot{uint32(h), uint32(n + 1)}
	}
}

// Len returns the number of rows.
func (r *Rows) Len() int { return len(r.rows) }

// Row returns the group and the sums of row i, in the order in which they came, and its values, one for each of columns
// columns. They are valid until the next Add or Reset.
func (r *Rows) Row(i int) (group uint64, sums Sums) { return r.rows[i].group, r.rows[i].Sums }

// RowValues returns the values of row i, which has as many columns. They are valid until the next Add or Reset.
func (r *Rows) RowValues(i, columns int) []Value {
	return r.values[r.rows[i].start:][:columns]
}

// keepRows is how many rows' memory a Rows keeps from one batch to the next.
const keepRows = 1 << 14

// Reset empties r, keeps nothing that Text points to, and keeps its own memory for the next batch, up to a bound.
func (r *Rows) Reset() {
	if len(r.slots) > minSlots && len(r.rows) < len(r.slots)/16 {
		r.setSlots(make([]slot, len(r.slots)/2)) // clearing it would cost more than the batches need
	} else {
		clear(r.slots)
	}
	clear(r.values)
	if cap(r.rows) > keepRows {
		r.values, r.rows = nil, nil
	}
	r.values, r.rows = r.values[:0], r.rows[:0]
}
