package tallyprocessor

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
)

// closedBit marks a closed intake; the bits below count the calls inside.
const closedBit = math.MinInt64

// intake lets calls in while it is open, and tells when the last of them has left after it was closed. It is what a
// sync.WaitGroup cannot be: Add and Wait may race. The zero intake is closed.
type intake struct {
	opened atomic.Bool
	state  atomic.Int64 // calls inside, and closedBit
	idle   chan struct{}
	once   sync.Once
}

// open lets calls in. It works once.
func (g *intake) open() {
	g.idle = make(chan struct{})
	g.opened.Store(true)
}

// enter says whether the call may go on; it must leave in any case where the answer was yes.
func (g *intake) enter() bool {
	if !g.opened.Load() {
		return false
	}
	if g.state.Add(1) < 0 {
		g.leave()
		return false
	}
	return true
}

func (g *intake) leave() {
	if g.state.Add(-1) == closedBit {
		g.once.Do(func() { close(g.idle) })
	}
}

// close lets no further call in, and says whether it was this call that has closed an open intake.
func (g *intake) close() bool {
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

// wait returns when the last call has left a closed intake, or with the error of ctx.
func (g *intake) wait(ctx context.Context) error {
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

// inside returns the number of calls inside.
func (g *intake) inside() int64 { return g.state.Load() &^ closedBit }
