// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package table holds the totals of a store as one sample found them, in columns, ready to be filtered and grouped.
//
// A Builder, which is serial, makes one Snapshot a sample. What does not change from one to the next, the keys and what
// is in them, is shared between Snapshots: columns only ever grow at their end, which a Snapshot does not look at, so
// it can be read by any number of goroutines while the next is made. A value of an attribute is a number into a list of
// the distinct values of that attribute, so to filter and to group compares numbers.
package table

import (
	"time"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
)

// Gone is the value of a row whose key is not in the store any more.
const Gone = -1

// Attribute is an attribute that keys of a metric have.
type Attribute struct {
	Resource bool // of the resource, not of the records
	Name     string
}

// Column is a Attribute and its distinct values, those among them that only keys had which are Gone.
type Column struct {
	Attribute
	Texts []string // as JSON; the first stands for an absent value
	Live  int      // rows that have the field and are not Gone
}

// Shape is the fields of a key: numbers into Metric.Columns, in the order of its cells.
type Shape struct {
	Columns  []uint32
	Overflow bool // it is an overflow key
}

// Metric is the keys of one metric, one a row. Rows that are Gone are to be left out.
type Metric struct {
	Name    string
	Columns []Column
	Shapes  []Shape

	// By row.
	Keys   []string // texts
	Values []int    // totals, or Gone
	Starts []int64  // Unix time in nanoseconds, as Lasts
	Lasts  []int64
	Slots  []int32 // for the rates; or rates.None or rates.Untracked

	Live         int // rows that are not Gone
	OverflowKeys int // of those

	shapes  []uint32
	offsets []uint32
	cells   []uint32
}

// ShapeOf returns the number of a row's Shape.
func (m *Metric) ShapeOf(row int) int { return int(m.shapes[row]) }

// Cell returns the number of a row's value in the column at position of its shape.
func (m *Metric) Cell(row, position int) uint32 { return m.cells[int(m.offsets[row])+position] }

// count counts the rows that are not Gone, by column and the overflow keys.
func (m *Metric) count() {
	live := make([]int, len(m.Shapes))
	for row, value := range m.Values {
		if value != Gone {
			live[m.shapes[row]]++
		}
	}
	for i, shape := range m.Shapes {
		for _, c := range shape.Columns {
			m.Columns[c].Live += live[i]
		}
		if shape.Overflow {
			m.OverflowKeys += live[i]
		}
	}
}

// Distinct returns how many values each column has in rows that are not Gone.
func (m *Metric) Distinct() []int {
	counts := make([]int, len(m.Columns))
	seen := make([][]bool, len(m.Columns))
	for i, c := range m.Columns {
		seen[i] = make([]bool, len(c.Texts))
	}
	for row, value := range m.Values {
		if value == Gone {
			continue
		}
		for position, c := range m.Shapes[m.ShapeOf(row)].Columns {
			if cell := m.Cell(row, position); !seen[c][cell] {
				seen[c][cell] = true
				counts[c]++
			}
		}
	}
	return counts
}

// Snapshot is what one sample has found. It does not change.
type Snapshot struct {
	Number  int       // of the sample, from 1
	Taken   time.Time // when it ended
	Metrics map[string]*Metric
	Rates   *rates.Rates

	Keys      int // of all metrics, overflow keys apart
	Overflow  int // overflow keys of all metrics
	Foreign   int // keys in the store that are not tally's
	Untracked int // keys that grow and have no rate, since there was no slot
	Tracked   int // keys that have a slot
}
