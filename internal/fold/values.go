package fold

import (
	"hash/maphash"
	"math/bits"
)

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

// Value is one value of a record as it was found there. Two that differ may still come to be the same in a key.
type Value struct {
	Text string // of a String
	Bits uint64 // of the int64, the float64 or the bool; 0 of a String
	Kind Kind
}

// Values sums records and their amounts by the values of a few attributes. It is the quick look that spares nearly every
// record the way through a Table: it compares values as they are, and makes no bytes of them.
//
// The zero Values is not usable; make one with NewValues. It is not safe for concurrent use.
type Values struct {
	seed maphash.Seed
	salt uint64 // random, so that nobody can choose numbers that collide

	values []Value // of all rows, end to end
	rows   []row
	slots  []slot // open addressing with linear probing
}

// slot has the upper half of a row's hash beside its number, so that a row that is not meant is seldom looked at.
type slot struct {
	check uint32
	row   uint32 // 1 + an index into rows, 0 = free
}

type row struct {
	hash       uint64
	group      uint64
	start, end int // of its values
	Sums
}

// NewValues returns an empty Values.
func NewValues() *Values {
	seed := maphash.MakeSeed()
	return &Values{seed: seed, salt: maphash.String(seed, "salt"), slots: make([]slot, minSlots)}
}

// mixer is an odd number whose bits look random: 2^64 divided by the golden ratio (Knuth, The Art of Computer
// Programming, volume 3, section 6.4).
const mixer = 0x9e3779b97f4a7c15

// Add adds to the values of a group, which are as many for each of its rows. It copies values and keeps their Text. The
// sum of the amounts must not pass the largest int64.
func (t *Values) Add(group uint64, values []Value, add Sums) {
	h := t.mix(t.salt, group)
	for i := range values {
		v := &values[i]
		if v.Kind == String {
			h = t.mix(h, maphash.String(t.seed, v.Text))
		} else {
			h = t.mix(h, v.Bits^uint64(v.Kind))
		}
	}
	mask := uint64(len(t.slots) - 1)
	check := uint32(h >> 32)
	i := h & mask
	for ; t.slots[i].row != 0; i = (i + 1) & mask {
		if t.slots[i].check != check {
			continue
		}
		r := &t.rows[t.slots[i].row-1]
		if r.group == group && equal(t.values[r.start:r.end], values) {
			r.Records += add.Records
			r.Amount += add.Amount
			return
		}
	}
	start := len(t.values)
	t.values = append(t.values, values...)
	t.rows = append(t.rows, row{hash: h, group: group, start: start, end: len(t.values), Sums: add})
	t.slots[i] = slot{check, uint32(len(t.rows))}
	if len(t.rows) > len(t.slots)/2 {
		t.grow()
	}
}

// mix folds a word into a hash: the product of two 64-bit numbers, its halves put together.
func (t *Values) mix(h, word uint64) uint64 {
	high, low := bits.Mul64(h^word, mixer^t.salt)
	return high ^ low
}

// equal compares values one by one. Kind and Bits come first, being cheaper; a Text of another length is not compared.
func equal(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Kind != b[i].Kind || a[i].Bits != b[i].Bits || a[i].Text != b[i].Text {
			return false
		}
	}
	return true
}

func (t *Values) grow() {
	t.slots = make([]slot, 2*len(t.slots))
	mask := uint64(len(t.slots) - 1)
	for n := range t.rows {
		h := t.rows[n].hash
		i := h & mask
		for t.slots[i].row != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = slot{uint32(h >> 32), uint32(n + 1)}
	}
}

// Len returns the number of rows.
func (t *Values) Len() int { return len(t.rows) }

// Row returns row i in the order in which they came. The values are valid until the next Add or Reset.
func (t *Values) Row(i int) (group uint64, values []Value, sums Sums) {
	r := &t.rows[i]
	return r.group, t.values[r.start:r.end], r.Sums
}

// keepRows is how many rows' memory a Values keeps from one batch to the next.
const keepRows = 1 << 14

// Reset empties t, keeps nothing that Text points to, and keeps its own memory for the next batch, up to a bound.
func (t *Values) Reset() {
	if len(t.slots) > minSlots && len(t.rows) < len(t.slots)/16 {
		t.slots = make([]slot, len(t.slots)/2) // clearing it would cost more than the batches need
	} else {
		clear(t.slots)
	}
	clear(t.values)
	if cap(t.rows) > keepRows {
		t.values, t.rows = nil, nil
	}
	t.values, t.rows = t.values[:0], t.rows[:0]
}
