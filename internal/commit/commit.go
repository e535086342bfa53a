// Package commit makes counts durable: one flush of the store for all who wait when it begins.
package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

var (
	// ErrUnconfirmed is what a sender is told whose logs went on, so it may send them again.
	ErrUnconfirmed = errors.New("the logs were forwarded and are counted, but the store has not confirmed in time that it keeps the counts")
	// ErrStoreFails says that the store does not take what it is given.
	ErrStoreFails = errors.New("the store does not keep what it is given, and with `durable` no logs go on until it does")

	// ErrStorePanic says that the store has panicked.
	ErrStorePanic = errors.New("the store has panicked")
	// ErrNotDurable says that the store cannot do what `durable` asks for.
	ErrNotDurable = errors.New("store keeps nothing over restarts: name a `store` that does, such as a `tally_memory` with `storage`")
	// ErrStopped says that the Committer has ended.
	ErrStopped = errors.New("tally is shut down")
)

// What a Committer waits for, at most and at least.
const (
	// StalledAfter is how long a flush takes before the store counts as failing.
	StalledAfter = 2 * time.Second

	leastBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
)

// Committer is the one goroutine that flushes a store. It tries again until the store has taken what was asked for.
type Committer struct {
	flush  func(context.Context) error
	failed func() // is called after each flush that has failed

	wake    chan struct{}
	cancel  context.CancelFunc
	stopped chan struct{} // closed when it flushes no more
	ended   chan struct{} // closed by Stop, when nobody is to wait any longer

	// mu guards the fields below.
	mu      sync.Mutex
	asked   uint64        // number of the last who asked
	kept    uint64        // all up to this number are durable
	changed chan struct{} // closed, and made anew, when kept or failing has changed
	failing bool          // the last flush has failed, or the present one has stalled
}

// New returns a Committer for a store that can be durable; for another it returns an error. failed is called after each flush that has
// failed.
func New(s store.MetricStore, failed func()) (*Committer, error) {
	flusher, ok := s.(store.Flusher)
	if !ok || !capability.InfoOf(s).Durable {
		return nil, fmt.Errorf("`durable` is true: %w", ErrNotDurable)
	}
	return &Committer{
		flush: flusher.Flush, failed: failed, wake: make(chan struct{}, 1), cancel: func() {},
		stopped: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{}),
	}, nil
}

// Start starts the goroutine, which goes on until Stop, not until ctx ends.
func (c *Committer) Start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go c.run(ctx)
}

func (c *Committer) run(ctx context.Context) {
	defer close(c.stopped)
	for {
		select {
		case <-c.wake:
			c.commit(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// commit flushes until the store has taken what was asked for, or ctx ends.
func (c *Committer) commit(ctx context.Context) {
	for backoff := leastBackoff; ; backoff = min(2*backoff, mostBackoff) {
		asked := c.lastAsked()
		if err := c.attempt(ctx); err == nil {
			c.note(asked, false)
			return
		}
		c.failed()
		c.note(0, true)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return
		}
	}
}

// attempt flushes once. While that takes too long the store counts as failing.
func (c *Committer) attempt(ctx context.Context) error {
	var mu sync.Mutex // keeps the one apart from the other
	ended := false
	stalled := time.AfterFunc(StalledAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			c.note(0, true)
		}
	})
	defer stalled.Stop()
	err := Guarded(func() error { return c.flush(ctx) })
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return err
}

// Guarded returns the panic of a store as an error.
func Guarded(flush func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %T", ErrStorePanic, p)
		}
	}()
	return flush()
}

func (c *Committer) lastAsked() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// note notes what is durable, and whether the store fails, and tells all who wait.
func (c *Committer) note(kept uint64, failing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.failing = max(c.kept, kept), failing
	close(c.changed)
	c.changed = make(chan struct{})
}

// Wait returns when everything that was added to the store before the call is durable, or with an error when ctx, or the
// committer, has ended before.
func (c *Committer) Wait(ctx context.Context) error {
	mine := c.ask()
	return c.until(ctx, ErrUnconfirmed, func() bool { return c.kept >= mine })
}

// ask has the goroutine flush, and returns the number whose turn is to be waited for.
func (c *Committer) ask() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return c.asked
}

// Works says whether the store takes what it is given: the last flush has not failed, nor the present one stalled.
func (c *Committer) Works() bool {
	works, _ := c.look(c.works)
	return works
}

// WaitUntilWorks returns when the store takes what it is given, or with an error when ctx, or the Committer, has ended before.
func (c *Committer) WaitUntilWorks(ctx context.Context) error {
	return c.until(ctx, ErrStoreFails, c.works)
}

func (c *Committer) works() bool { return !c.failing }

// until waits for a condition, which is asked under the lock.
func (c *Committer) until(ctx context.Context, failure error, condition func() bool) error {
	for {
		var reason error // to give up
		met, changed := c.look(condition)
		if met {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			reason = context.Cause(ctx)
		case <-c.ended:
			reason = ErrStopped
		}
		if met, _ := c.look(condition); met {
			return nil
		}
		return fmt.Errorf("%w: %w", failure, reason)
	}
}

// look returns whether a condition is met, and what is closed when that may change.
func (c *Committer) look(condition func() bool) (met bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return condition(), c.changed
}

// Stop ends the goroutine and waits for it until ctx ends: a store may not let it go. Whoever waits then gets an error.
func (c *Committer) Stop(ctx context.Context) {
	defer close(c.ended)
	c.cancel()
	select {
	case <-c.stopped:
	case <-ctx.Done():
	}
}
