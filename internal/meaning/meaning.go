// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package meaning keeps apart the components that count a metric of one store: what they add up must be the same thing.
package meaning

import (
	"errors"
	"fmt"
	"sync"
)

// ErrOther says that a metric is counted already, and that what it adds up is something else.
var ErrOther = errors.New("another component counts a metric of that name in the same store with another `sum` or unit: give one of them another name")

// Meaning is what the numbers of a metric are.
type Meaning struct {
	Unit string
	Sum  string // what a record adds: `records`, `bytes` or an expression; empty = it is not known
}

// Differs says whether totals of both must not be added up. What is not known is no difference.
func (m Meaning) Differs(o Meaning) bool { return m.Sum != "" && o.Sum != "" && m != o }

func (m Meaning) String() string { return fmt.Sprintf("%q in the unit %q", m.Sum, m.Unit) }

// Claims knows the metrics that are counted at the moment. Its zero value is ready, and it is safe for concurrent use.
type Claims struct {
	// mu guards metrics.
	mu      sync.Mutex
	metrics map[string]*claimed
}

// claimed is a metric that is counted.
type claimed struct {
	meaning Meaning
	shared  any
	by      int // components
}

// Claim says that one more component counts a metric, until it calls release. shared is what all of them have in
// common, which begin has made for the first. The error is ErrOther with details.
func (c *Claims) Claim(metric string, m Meaning, begin func() (shared any)) (shared any, release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, known := c.metrics[metric]
	switch {
	case !known:
		if c.metrics == nil {
			c.metrics = map[string]*claimed{}
		}
		one = &claimed{meaning: m, shared: begin()}
		c.metrics[metric] = one
	case one.meaning.Differs(m):
		return nil, nil, fmt.Errorf("it sums %v, and elsewhere %v: %w", m, one.meaning, ErrOther)
	}
	one.by++
	return one.shared, sync.OnceFunc(func() { c.release(metric, one) }), nil
}

func (c *Claims) release(metric string, one *claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.by--; one.by == 0 {
		delete(c.metrics, metric)
	}
}
