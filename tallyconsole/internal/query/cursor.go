package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// cursor is what the text of one holds.
type cursor struct {
	Question uint64   `json:"q"`
	Made     int64    `json:"m"` // Unix time in seconds
	Rate     float64  `json:"r,omitempty"`
	Total    int      `json:"t,omitempty"`
	Tuple    []string `json:"k"`
}

// question is a number of what must not change from page to page. Cursors live for minutes, so a chance of 2^-64 will do.
func question(metric string, q Query) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %d", metric, q.Order)
	for _, c := range q.Where {
		fmt.Fprintf(h, " w%q%d%q%t", c.String(), c.Operator, c.Text, c.Exact)
	}
	for _, ref := range q.GroupBy {
		fmt.Fprintf(h, " g%q", ref)
	}
	return h.Sum64()
}

// Cursor returns the text from which ParseCursor reads a position again: for the same question, until it has expired.
func Cursor(p *Position, metric string, q Query, now time.Time) string {
	c := cursor{question(metric, q), now.Unix(), p.Rate, p.Total, p.Tuple}
	text, err := json.Marshal(c)
	if err != nil {
		return "" // numbers and strings; a rate is finite
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseCursor reads a position. Its errors are ErrCursor, ErrExpired and ErrOther.
func ParseCursor(text, metric string, q Query, now time.Time, lifetime time.Duration) (*Position, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCursor
	}
	var c cursor
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || d.More() || len(c.Tuple) != max(1, len(q.GroupBy)) {
		return nil, ErrCursor
	}
	if age := now.Sub(time.Unix(c.Made, 0)); age > lifetime || age < -lifetime {
		return nil, ErrExpired
	}
	if c.Question != question(metric, q) {
		return nil, ErrOther
	}
	return &Position{c.Rate, c.Total, c.Tuple}, nil
}
