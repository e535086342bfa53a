// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rowsModel is the plain version: what a Rows must say, and in which order.
type rowsModel struct {
	sums  map[string]Sums
	order []string
}

func rowText(group uint64, values []Value) string {
	text := fmt.Sprint(group)
	for _, v := range values {
		text += fmt.Sprintf(" %d:%d:%q", v.Kind, v.Bits, v.Text)
	}
	return text
}

func (m *rowsModel) add(group uint64, columns []*Column, selected uint64, amounts *[Lanes]int64) {
	for lane := range Lanes {
		if selected>>lane&1 == 0 {
			continue
		}
		values := make([]Value, 0, len(columns))
		for _, c := range columns {
			values = append(values, c.Values[lane])
		}
		text := rowText(group, values)
		sums, known := m.sums[text]
		if !known {
			m.order = append(m.order, text)
		}
		amount := int64(1)
		if amounts != nil {
			amount = amounts[lane]
		}
		m.sums[text] = Sums{Records: sums.Records + 1, Amount: sums.Amount + amount}
	}
}

// setRandom sets a lane to one of about 5 * distinct values: of each kind some with the same bits.
func setRandom(random *rand.Rand, r *Rows, c *Column, lane, distinct int) {
	n := random.IntN(distinct)
	switch kind := Kind(random.IntN(5)); kind {
	case String:
		text := strings.Repeat("t", n%20) + fmt.Sprint(n)
		r.SetText(c, lane, text, random.IntN(2) == 0)
	case Absent:
		r.Set(c, lane, Absent, 0)
	case Int, Double, Bool:
		r.Set(c, lane, kind, uint64(n))
	}
}

// checkRows adds random lanes to a Rows and to a map. Groups have as many columns as their number modulo 4.
func checkRows(t *testing.T, r *Rows, random *rand.Rand, rounds, distinct int) {
	t.Helper()
	model := rowsModel{sums: map[string]Sums{}}
	widths := map[string]int{}
	var all [3]Column
	var amounts [Lanes]int64
	for range rounds {
		for c := range all {
			for lane := range Lanes {
				if lane%7 == 6 {
					all[c].Copy(lane, &all[c], lane-1)
				} else {
					setRandom(random, r, &all[c], lane, distinct)
				}
			}
		}
		for lane := range amounts {
			amounts[lane] = random.Int64N(1000)
		}
		group := uint64(random.IntN(3)) + 1 + uint64(random.IntN(2))<<32
		var columns []*Column
		for c := range int(group % 4) {
			columns = append(columns, &all[c])
		}
		selected := random.Uint64() | random.Uint64()
		of := &amounts
		if random.IntN(2) == 0 {
			of = nil
		}
		r.Add(group, columns, selected, of)
		model.add(group, columns, selected, of)
	}
	require.Equal(t, len(model.order), r.Len())
	for i := range r.Len() {
		group, sums := r.Row(i)
		text := rowText(group, r.RowValues(i, int(group%4)))
		widths[text]++
		if text != model.order[i] || sums != model.sums[text] {
			require.Equal(t, model.order[i], text, "row %d", i)
			require.Equal(t, model.sums[text], sums, text)
		}
	}
	assert.Len(t, widths, r.Len(), "no row twice")
	assert.LessOrEqual(t, 2*r.Len(), len(r.slots), "a search ends at a free slot")
}

// Rows are those of a map, in the order in which they came, batch after batch, whatever the hash.
func TestRowsAgainstMap(t *testing.T) {
	for name, hash := range map[string]func(string) uint64{
		"hash":         nil,
		"all equal":    func(string) uint64 { return 7 },
		"one bit left": func(s string) uint64 { return uint64(len(s) & 1) },
		"last slot":    func(string) uint64 { return ^uint64(0) },
	} {
		for _, distinct := range []int{1, 5, 60} {
			t.Run(fmt.Sprint(name, " ", distinct), func(t *testing.T) {
				rounds := 60
				if hash == nil {
					rounds = 300 // some thousand rows
				}
				r := NewRowsWithHash(hash)
				random := rand.New(rand.NewPCG(2, uint64(distinct)))
				for range 3 { // reused as in steady state
					checkRows(t, r, random, rounds, distinct)
					if hash == nil && distinct == 60 {
						assert.Greater(t, r.Len(), 5000)
					}
					r.Reset()
					assert.Zero(t, r.Len())
				}
			})
		}
	}
}

// What collides in all bits of the hash is still told apart, also in a few hundred rows, where slots had to grow.
func TestCollidingRowsDoNotMerge(t *testing.T) {
	r := NewRowsWithHash(func(string) uint64 { return 42 })
	var c Column
	for n := range 900 {
		r.SetText(&c, n%Lanes, fmt.Sprint(n%300), false)
		r.Add(1, []*Column{&c}, 1<<(n%Lanes), nil)
	}
	require.Equal(t, 300, r.Len())
	for i := range r.Len() {
		_, sums := r.Row(i)
		assert.Equal(t, Sums{3, 3}, sums)
		assert.Equal(t, []Value{{Text: fmt.Sprint(i), Kind: String}}, r.RowValues(i, 1))
	}
}

// Values of different kinds are different, also where their bits are the same, and so are a text that was cut and one
// that was not, the same values in another order, and the same values in another group.
func TestRowsAreDistinctByKindOrderAndGroup(t *testing.T) {
	for name, r := range map[string]*Rows{"hash": NewRows(), "colliding": NewRowsWithHash(func(string) uint64 { return 0 })} {
		t.Run(name, func(t *testing.T) {
			var a, b Column
			set := []func(c *Column, lane int){
				func(c *Column, lane int) { r.Set(c, lane, Absent, 0) },
				func(c *Column, lane int) { r.Set(c, lane, Int, 0) },
				func(c *Column, lane int) { r.Set(c, lane, Double, 0) },
				func(c *Column, lane int) { r.Set(c, lane, Bool, 0) },
				func(c *Column, lane int) { r.SetText(c, lane, "", false) },
				func(c *Column, lane int) { r.SetText(c, lane, "", true) },
				func(c *Column, lane int) { r.Set(c, lane, Int, 1) },
				func(c *Column, lane int) { r.Set(c, lane, Int, 1<<63) },
			}
			for lane := range Lanes {
				set[lane%8](&a, lane)
				set[lane/8](&b, lane)
			}
			for range 2 {
				r.Add(1, []*Column{&a, &b}, ^uint64(0), nil)
			}
			require.Equal(t, Lanes, r.Len(), "a lane has a row of its own each")
			r.Add(2, []*Column{&a, &b}, ^uint64(0), nil)
			r.Add(1<<32|1, []*Column{&a, &b}, ^uint64(0), nil)
			require.Equal(t, 3*Lanes, r.Len(), "groups do not share rows")
			for i := range r.Len() {
				group, sums := r.Row(i)
				want := int64(1)
				if group == 1 {
					want = 2
				}
				assert.Equal(t, Sums{want, want}, sums)
			}
		})
	}
}

// A lane that is set again has nothing of what it was before.
func TestLanesAreSetAnew(t *testing.T) {
	r := NewRows()
	var c, fresh Column
	r.SetText(&c, 3, "text", true)
	r.Set(&c, 3, Int, 9)
	r.Set(&fresh, 3, Int, 9)
	assert.Equal(t, fresh, c)
	r.SetText(&c, 3, "text", false)
	r.SetText(&fresh, 3, "text", false)
	assert.Equal(t, fresh, c)
}

// Without columns, as for a metric with conditions alone, a group is one row; lanes that are not selected add nothing.
func TestRowsWithoutColumns(t *testing.T) {
	r := NewRows()
	amounts := [Lanes]int64{0: 5, 63: math.MaxInt64 - 5}
	r.Add(7, nil, 0, nil)
	assert.Zero(t, r.Len())
	r.Add(7, nil, 1|1<<63, &amounts)
	r.Add(8, nil, 0xff, nil)
	require.Equal(t, 2, r.Len())
	_, sums := r.Row(0)
	assert.Equal(t, Sums{2, math.MaxInt64}, sums)
	_, sums = r.Row(1)
	assert.Equal(t, Sums{8, 8}, sums)
	assert.Empty(t, r.RowValues(1, 0))
}

// After Reset a Rows keeps no text, not even behind the end of a slice, no more memory than keepRows rows take, and
// after some small batches few slots.
func TestRowsResetGivesBack(t *testing.T) {
	addRows := func(r *Rows, rows int) {
		var c Column
		for n := range rows {
			r.SetText(&c, n%Lanes, fmt.Sprint("text ", n), false)
			r.Add(1, []*Column{&c}, 1<<(n%Lanes), nil)
		}
	}
	r := NewRows()
	addRows(r, keepRows/2)
	r.Reset()
	assert.GreaterOrEqual(t, cap(r.rows), keepRows/2, "what a batch usually needs is kept")
	for _, v := range r.values[:cap(r.values)] {
		require.Zero(t, v)
	}
	addRows(r, 10)
	r.Reset()
	for _, v := range r.values[:cap(r.values)] {
		require.Zero(t, v)
	}

	addRows(r, 2*keepRows)
	grown := len(r.slots)
	assert.Equal(t, 4*keepRows, grown)
	for range 20 {
		r.Reset()
		assert.LessOrEqual(t, cap(r.rows), keepRows)
		assert.LessOrEqual(t, cap(r.values), 2*keepRows)
		addRows(r, 1)
	}
	assert.Less(t, len(r.slots), grown/8)
	assert.Equal(t, 64-bits.TrailingZeros(uint(len(r.slots))), r.shift)
	r.Reset()
	checkRows(t, r, rand.New(rand.NewPCG(3, 3)), 100, 60)
}

// No allocation once a Rows has grown.
func TestRowsInSteadyStateDoNotAllocate(t *testing.T) {
	r := NewRows()
	var c Column
	texts := make([]string, 1024)
	for i := range texts {
		texts[i] = fmt.Sprint(i)
	}
	columns := []*Column{&c}
	batch := func() {
		for n := range len(texts) / Lanes {
			for lane := range Lanes {
				r.SetText(&c, lane, texts[n*Lanes+lane], false)
			}
			r.Add(1, columns, ^uint64(0), nil)
		}
		r.Reset()
	}
	batch()
	assert.Zero(t, testing.AllocsPerRun(20, batch))
}

// The hash of a text is one of all its bytes, wherever they are in memory, and of the seed.
func TestHashOfATextIsOneOfAllItsBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	h, other := newHasher(), newHasher()
	sameInBoth := 0
	for length := range 41 {
		for range 200 {
			text := make([]byte, length)
			for i := range text {
				text[i] = byte(random.Uint32())
			}
			a, b := string(text), string(bytes.Clone(text))
			if length > 1 {
				assert.NotSame(t, unsafe.StringData(a), unsafe.StringData(b))
			}
			want := h.text(a)
			require.Equal(t, want, h.text(b), "%q", a)
			require.Equal(t, want, h.text(("x" + a + "y")[1:length+1]), "%q in another place", a)
			if other.text(a) == want {
				sameInBoth++
			}
			for i := range text {
				flip := byte(1 + random.IntN(255))
				text[i] ^= flip
				require.NotEqual(t, want, h.text(string(text)), "%q with byte %d xor %d", a, i, flip)
				text[i] ^= flip
			}
		}
	}
	assert.Zero(t, sameInBoth, "texts for which two seeds give one hash")
}

// Texts that differ by nothing but their length have different hashes, zero bytes and repeated ones included.
func TestHashOfATextDependsOnItsLength(t *testing.T) {
	for _, of := range []string{"\x00", "a", "\xff"} {
		h := newHasher()
		seen := map[uint64]int{}
		for length := range 41 {
			hash := h.text(strings.Repeat(of, length))
			assert.NotContains(t, seen, hash, "%q, %d times", of, length)
			seen[hash] = length
		}
	}
}

// A hash put behind others spreads over the slots, of which the upper bits choose.
func TestMixedHashesSpread(t *testing.T) {
	slots := map[uint64]bool{}
	for i := range uint64(1024) {
		slots[mix(7, i)>>54] = true
	}
	assert.Greater(t, len(slots), 512)
}

// However often they are empty, tables keep their least slots.
func TestResetKeepsTheLeastSlots(t *testing.T) {
	r, table := NewRows(), NewTable()
	for range 3 {
		r.Reset()
		table.Reset()
	}
	assert.Len(t, r.slots, minSlots)
	assert.Len(t, table.slots, minSlots)
}
