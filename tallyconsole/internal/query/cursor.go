// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package query

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"io"
	"strings"
	"time"
)

// cursor is what the text of one holds.
type cursor struct {
	Query uint64   `json:"q"`
	Made  int64    `json:"m"` // Unix time in seconds
	Rate  float64  `json:"r,omitempty"`
	Total int      `json:"t,omitempty"`
	Tuple []string `json:"k"`
}

// number stands for a query. Cursors live for minutes, so a chance of 2^-64 will do.
func number(text string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text) // a hash takes everything
	return h.Sum64()
}

// Cursor returns the text from which ParseCursor reads a position again: for the same query, until it has expired.
// Queries are the same if their texts are, which hold all that must not change from page to page.
func Cursor(p *Position, query string, now time.Time) string {
	c := cursor{number(query), now.Unix(), p.Rate, p.Total, p.Tuple}
	text, err := json.Marshal(c)
	if err != nil {
		return "" // numbers and strings; a rate is finite
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseCursor reads a position in the answer to a query that groups by so many attributes. Its errors are ErrCursor,
// ErrExpired and ErrOther.
func ParseCursor(text, query string, groupBy int, now time.Time, lifetime time.Duration) (*Position, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCursor
	}
	var c cursor
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || d.More() || len(c.Tuple) != max(1, groupBy) {
		return nil, ErrCursor
	}
	if age := now.Sub(time.Unix(c.Made, 0)); age > lifetime || age < -lifetime {
		return nil, ErrExpired
	}
	if c.Query != number(query) {
		return nil, ErrOther
	}
	return &Position{c.Rate, c.Total, c.Tuple}, nil
}
