package fold

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rows sum as a map does, also when all texts collide, over many rows and after Reset.
func TestRowsAreAMap(t *testing.T) {
	type key struct {
		group uint64
		a, b  Value
	}
	for name, rows := range map[string]*Rows{
		"random": NewRows(), "colliding": NewRowsWithHash(func(string) uint64 { return 7 }),
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for _, distinct := range []int{2, 3000, 5, 400} {
				want := map[key]Sums{}
				var a, b Column
				for range 100 {
					var amounts [Lanes]int64
					selected, group := random.Uint64(), uint64(random.IntN(2))
					for lane := range Lanes {
						n := random.IntN(distinct)
						rows.SetText(&a, lane, fmt.Sprint(n), n%7 == 0)
						rows.Set(&b, lane, []Kind{Absent, Int, Double, Bool}[random.IntN(4)], uint64(n%2))
						amounts[lane] = int64(n)
						if selected&(1<<lane) != 0 {
							k := key{group, a.Values[lane], b.Values[lane]}
							want[k] = Sums{want[k].Records + 1, want[k].Amount + amounts[lane]}
						}
					}
					rows.Add(group, []*Column{&a, &b}, selected, &amounts)
				}
				got := map[key]Sums{}
				for i := range rows.Len() {
					group, sums := rows.Row(i)
					v := rows.RowValues(i, 2)
					got[key{group, v[0], v[1]}] = sums
				}
				require.Equal(t, want, got)
				require.Len(t, got, rows.Len(), "each row once")
				rows.Reset()
				require.Zero(t, rows.Len())
			}
		})
	}
}

// Without amounts each record is one, and without columns a group is one row.
func TestRowsCountRecords(t *testing.T) {
	rows := NewRows()
	rows.Add(1, nil, 0b1011, nil)
	rows.Add(2, nil, 0, nil)
	rows.Add(1, nil, 1<<63, nil)
	require.Equal(t, 1, rows.Len())
	group, sums := rows.Row(0)
	assert.EqualValues(t, 1, group)
	assert.Equal(t, Sums{Records: 4, Amount: 4}, sums)
}

// A short text is hashed by its bytes and its length, wherever it is, and each hasher has a hash of its own.
func TestHashOfText(t *testing.T) {
	h, other := newHasher(), newHasher()
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 41 {
		for range 200 {
			text := make([]byte, n)
			for i := range text {
				text[i] = byte(random.IntN(4))
			}
			assert.Equal(t, h.text(string(text)), h.text(strings.Clone(string(text))))
			assert.NotEqual(t, h.text(string(text)), h.text(string(text)+"\x00"))
			assert.NotEqual(t, h.text(string(text)), other.text(string(text)))
			if n > 0 {
				changed := append([]byte(nil), text...)
				changed[random.IntN(n)] ^= 1 << random.IntN(8)
				assert.NotEqual(t, h.text(string(text)), h.text(string(changed)))
			}
		}
	}
}

// What was appended is summed up by nobody else, and survives that the table grows.
func TestAppendBesideAdd(t *testing.T) {
	table := NewTable()
	for range 2 {
		for n := range 1000 {
			table.Append(fmt.Appendf(nil, "appended %d", n), Sums{1, 2})
			index, ok := table.Add(fmt.Appendf(nil, "added %d", n%300), Sums{1, 1})
			require.True(t, ok)
			identity, _ := table.Entry(index)
			require.Equal(t, fmt.Sprintf("added %d", n%300), string(identity))
		}
		require.Equal(t, 1300, table.Len())
		sum := int64(0)
		for i := range table.Len() {
			_, sums := table.Entry(i)
			sum += sums.Amount
		}
		require.EqualValues(t, 3000, sum)
		table.Reset()
	}
}
