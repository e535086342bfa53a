// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
)

func newMetricBuilder() *metricBuilder {
	return &metricBuilder{index: map[string]uint32{}, numbers: map[Attribute]uint32{}, known: map[string]uint32{}}
}

// begin makes new columns for what every sample finds anew: those before are in a Snapshot.
func (m *metricBuilder) begin() {
	m.nextValues = make([]int, len(m.keys), len(m.keys)+len(m.keys)/16+16)
	for row := range m.nextValues {
		m.nextValues[row] = unseen
	}
	m.nextLasts = make([]int64, len(m.keys), cap(m.nextValues))
}

// settle decides on the rows that the sample has not met.
func (m *metricBuilder) settle(complete bool) {
	for row, value := range m.nextValues {
		switch {
		case value != unseen:
		case complete:
			m.nextValues[row] = Gone
		default:
			m.nextValues[row], m.nextLasts[row] = m.values[row], m.lasts[row]
		}
	}
	m.values, m.lasts = m.nextValues, m.nextLasts
	m.nextValues, m.nextLasts = nil, nil
}

// show fills in a Metric. Starts is copied as slots is: a key that was gone and came back has another.
func (m *metricBuilder) show(view *Metric) {
	view.Shapes, view.Keys, view.Values, view.Lasts = m.shapes, m.keys, m.values, m.lasts
	view.Starts, view.Slots = slices.Clone(m.starts), slices.Clone(m.slots)
	view.shapes, view.offsets, view.cells = m.shapeOf, m.offsets, m.cells
	for _, c := range m.columns {
		view.Columns = append(view.Columns, Column{Attribute: c.attribute, Texts: c.texts})
	}
}

// append makes a row; ok is false when the text is no key.
func (m *metricBuilder) append(key string) (row uint32, ok bool) {
	offset := len(m.cells)
	columns, overflow, ok := m.appendCells(key)
	if !ok {
		m.cells = m.cells[:offset]
		return 0, false
	}
	row = uint32(len(m.keys))
	m.index[key] = row
	m.keys = append(m.keys, key)
	m.starts = append(m.starts, 0)
	m.shapeOf = append(m.shapeOf, m.shape(columns, overflow))
	m.offsets = append(m.offsets, uint32(offset))
	m.slots = append(m.slots, rates.None)
	m.values = append(m.values, unseen)
	m.lasts = append(m.lasts, 0)
	m.nextValues = append(m.nextValues, unseen)
	m.nextLasts = append(m.nextLasts, 0)
	return row, true
}

// appendCells appends the cells of a key, and returns their columns and whether it is an overflow key.
func (m *metricBuilder) appendCells(key string) (columns []uint32, overflow, ok bool) {
	valid := true
	ok = serieskey.Members(key, func(resource bool, name, value string) {
		number, nameOK := m.column(resource, name)
		cell, valueOK := uint32(0), false
		if nameOK {
			cell, valueOK = m.columns[number].cell(value)
		}
		valid = valid && nameOK && valueOK
		columns = append(columns, number)
		m.cells = append(m.cells, cell)
		overflow = overflow || !resource && name == overflowFlag && value == "true"
	})
	return columns, overflow, ok && valid
}

// column returns the number of a column, given the JSON text of its name.
func (m *metricBuilder) column(resource bool, nameText string) (uint32, bool) {
	name, err := serieskey.ParseString(nameText)
	if err != nil {
		return 0, false
	}
	attribute := Attribute{resource, name}
	number, ok := m.numbers[attribute]
	if !ok {
		attribute.Name = strings.Clone(name) // else it would keep the key
		number = uint32(len(m.columns))
		m.columns = append(m.columns, &columnBuilder{attribute: attribute, texts: []string{""}})
		m.numbers[attribute] = number
	}
	return number, true
}

// cell returns the number of a value.
func (c *columnBuilder) cell(text string) (uint32, bool) {
	if number, ok := c.find(text); ok {
		return number, true
	}
	if _, err := serieskey.ParseValue(text); err != nil {
		return 0, false
	}
	number := uint32(len(c.texts))
	c.texts = append(c.texts, text)
	switch {
	case c.numbers != nil:
		c.numbers[text] = number
	case len(c.texts) > maxSearched:
		c.index()
	}
	return number, true
}

// maxSearched is how many values are searched one by one. A map takes more memory than they do, and a sender may make
// up names without end.
const maxSearched = 8

func (c *columnBuilder) find(text string) (uint32, bool) {
	if c.numbers != nil {
		number, ok := c.numbers[text]
		return number, ok
	}
	i := slices.Index(c.texts[1:], text)
	return uint32(i + 1), i >= 0
}

func (c *columnBuilder) index() {
	c.numbers = make(map[string]uint32, len(c.texts))
	for number, text := range c.texts[1:] {
		c.numbers[text] = uint32(number + 1)
	}
}

// shape returns the number of a shape.
func (m *metricBuilder) shape(columns []uint32, overflow bool) uint32 {
	id := make([]byte, 0, 64)
	for _, c := range columns {
		id = binary.LittleEndian.AppendUint32(id, c)
	}
	if overflow {
		id = append(id, 'o')
	}
	if number, ok := m.known[string(id)]; ok {
		return number
	}
	number := uint32(len(m.shapes))
	m.shapes = append(m.shapes, Shape{columns, overflow})
	m.known[string(id)] = number
	return number
}

// compacted returns the metric without the rows that are gone.
func (m *metricBuilder) compacted() *metricBuilder {
	c := newMetricBuilder()
	for row, value := range m.values {
		if value == Gone {
			continue
		}
		to, _ := c.append(m.keys[row]) // it was taken before
		c.starts[to], c.values[to], c.lasts[to], c.slots[to] = m.starts[row], value, m.lasts[row], m.slots[row]
	}
	c.nextValues, c.nextLasts = nil, nil
	return c
}
