// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package commit makes counts durable: one flush of the store for all who wait when it begins.
package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/logtally/tallyprocessor/internal/background"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/recovered"
	"github.com/logtally/tallyprocessor/store"
)

var (
	// ErrUnconfirmed is what a sender is told whose logs went on, so it may send them again.
	ErrUnconfirmed = errors.New("the logs were forwarded and are counted, but the store has not confirmed in time that it keeps the counts")
	// ErrStoreFails says that the store does not take what it is given.
	ErrStoreFails = errors.New("the store does not confirm counts: with `durable`, no logs are forwarded until it does")

	// ErrNotDurable says that the store cannot do what `durable` asks for.
	ErrNotDurable = errors.New("the store is not durable: set `store` to one that is, such as `tally_memory` with `storage`")
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

// Committer flushes a store in a goroutine of its own, when somebody waits for it. It tries again until the store has
// taken what was asked for. It is safe for concurrent use.
type Committer struct {
	flush   func(context.Context) error
	failed  func() // is called after each flush that has failed
	flushes *background.Loop
	ended   chan struct{} // closed by Stop, when nobody is to wait any longer

	// mu guards the field below.
	mu    sync.Mutex
	works chan struct{} // closed while the last flush has not failed, and the present one has not stalled
}

// New returns a Committer for a store that can be durable; for another it returns an error. failed is called after each
// flush that has failed.
func New(s store.MetricStore, failed func()) (*Committer, error) {
	flusher, ok := s.(store.Flusher)
	if !ok || !capability.InfoOf(s).Durable {
		return nil, fmt.Errorf("`durable` is true: %w", ErrNotDurable)
	}
	c := &Committer{flush: flusher.Flush, failed: failed, ended: make(chan struct{}), works: make(chan struct{})}
	c.flushes = background.New(background.Settings{Name: "flush the store", Run: c.commit})
	close(c.works)
	return c, nil
}

// Start starts the goroutine, which goes on until Stop, not until ctx ends.
func (c *Committer) Start(ctx context.Context) { c.flushes.Start(ctx) }

// commit flushes until the store has taken what was asked for, or ctx ends.
func (c *Committer) commit(ctx context.Context) error {
	for backoff := leastBackoff; ; backoff = min(2*backoff, mostBackoff) {
		err := c.attempt(ctx)
		c.note(err == nil)
		if err == nil {
			return nil
		}
		c.failed()
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return ErrStopped
		}
	}
}

// attempt flushes once. While that takes too long the store counts as failing.
func (c *Committer) attempt(ctx context.Context) error {
	noted := make(chan struct{})
	stalled := time.AfterFunc(StalledAfter, func() {
		defer close(noted)
		c.note(false)
	})
	err := recovered.Call(func() error { return c.flush(ctx) })
	if !stalled.Stop() {
		<-noted // or it would be noted after what the caller notes
	}
	return err
}

// note notes whether the store works, and tells all who wait for that.
func (c *Committer) note(works bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.works:
		if !works {
			c.works = make(chan struct{})
		}
	default:
		if works {
			close(c.works)
		}
	}
}

// Wait returns when everything that was added to the store before the call is durable, or with an error when ctx, or
// the Committer, has ended before.
func (c *Committer) Wait(ctx context.Context) error {
	err := c.flushes.Do(ctx)
	if err == nil {
		return nil
	}
	if errors.Is(err, background.ErrNotRunning) {
		err = ErrStopped
	}
	return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
}

// Works says whether the store takes what it is given: the last flush has not failed, nor the present one stalled.
func (c *Committer) Works() bool {
	select {
	case <-c.working():
		return true
	default:
		return false
	}
}

// WaitUntilWorks returns when the store takes what it is given, or with an error when ctx, or the Committer, has ended
// before.
func (c *Committer) WaitUntilWorks(ctx context.Context) error {
	working := c.working()
	var reason error // to give up
	select {
	case <-working:
		return nil
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-c.ended:
		reason = ErrStopped
	}
	select {
	case <-working: // together with the reason
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrStoreFails, reason)
	}
}

// working returns what is closed when the store works.
func (c *Committer) working() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.works
}

// Stop ends the goroutine and waits for it until ctx ends: a store may not let it go. Whoever waits then gets an error.
func (c *Committer) Stop(ctx context.Context) {
	defer close(c.ended)
	_ = c.flushes.Stop(ctx) // whoever waits is told, and so was failed
}
