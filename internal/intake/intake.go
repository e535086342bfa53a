// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package intake lets calls in until it is closed, and then waits for them.
package intake

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
)

// closedBit marks a closed Intake; the bits below count the calls inside.
const closedBit = math.MinInt64

// Intake lets calls in while it is open, and tells when the last of them has left after it was closed. It is what a
// sync.WaitGroup cannot be: Add and Wait may race. The zero Intake is closed.
type Intake struct {
	opened atomic.Bool
	state  atomic.Int64 // calls inside, and closedBit
	idle   chan struct{}
	once   sync.Once
}

// Open lets calls in. It works once.
func (g *Intake) Open() {
	g.idle = make(chan struct{})
	g.opened.Store(true)
}

// Enter says whether the call may go on; it must leave in any case where the answer was yes.
func (g *Intake) Enter() bool {
	if !g.opened.Load() {
		return false
	}
	if g.state.Add(1) < 0 {
		g.Leave()
		return false
	}
	return true
}

// Leave ends a call.
func (g *Intake) Leave() {
	if g.state.Add(-1) == closedBit {
		g.once.Do(func() { close(g.idle) })
	}
}

// Close lets no further call in, and says whether it was this call that has closed an open Intake.
func (g *Intake) Close() bool {
	if !g.opened.Load() {
		return false
	}
	for {
		inside := g.state.Load()
		if inside < 0 {
			return false
		}
		if g.state.CompareAndSwap(inside, inside|closedBit) {
			if inside == 0 {
				g.once.Do(func() { close(g.idle) })
			}
			return true
		}
	}
}

// Wait returns when the last call has left a closed Intake, or with the error of ctx.
func (g *Intake) Wait(ctx context.Context) error {
	select {
	case <-g.idle:
	case <-ctx.Done():
		select {
		case <-g.idle: // both have come
		default:
			return context.Cause(ctx)
		}
	}
	return nil
}

// Inside returns the number of calls inside.
func (g *Intake) Inside() int64 { return g.state.Load() &^ closedBit }
