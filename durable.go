package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/logtally/tallyprocessor/internal/extract"
)

var (
	// errUnconfirmed is what a sender is told whose logs went on, so it may send them again.
	errUnconfirmed = errors.New("the logs were forwarded and are counted, but the store has not confirmed in time that it keeps the counts")
	errStoreFails  = errors.New("the store does not keep what it is given, and with `durable` no logs go on until it does")
	errStorePanic  = errors.New("the store has panicked")
	errNotDurable  = errors.New("store keeps nothing over restarts")
)

// What the committer waits for, at most and at least.
const (
	// stalledAfter is how long a flush takes before the store counts as failing.
	stalledAfter = 2 * time.Second

	leastBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
)

// committer makes counts durable: one flush of the store for all who wait when it begins. It is the one goroutine that
// flushes, and it tries again until the store has taken what was asked for.
type committer struct {
	flush  func(context.Context) error
	failed func() // is called after each flush that has failed

	wake    chan struct{}
	cancel  context.CancelFunc
	stopped chan struct{} // closed when it flushes no more
	ended   chan struct{} // closed by stop, when nobody is to wait any longer

	// mu guards the fields below.
	mu      sync.Mutex
	asked   uint64        // number of the last who asked
	kept    uint64        // all up to this number are durable
	changed chan struct{} // closed, and made anew, when kept or failing has changed
	failing bool          // the last flush has failed, or the present one has stalled
}

// newCommitter returns a committer for a store that can be durable; for another it returns an error.
func newCommitter(store MetricStore, failed func()) (*committer, error) {
	d, ok := store.(Durable)
	if !ok {
		return nil, fmt.Errorf("`durable` is true: %w: it does not implement Durable; name another `store`, such as a "+
			"`tally_memory` with `storage`", errNotDurable)
	}
	if err := d.Durable(); err != nil {
		return nil, fmt.Errorf("`durable` is true: %w: %w", errNotDurable, err)
	}
	return &committer{
		flush: d.Flush, failed: failed, wake: make(chan struct{}, 1), cancel: func() {},
		stopped: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{}),
	}, nil
}

// start starts the goroutine, which goes on until stop, not until ctx ends.
func (c *committer) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go c.run(ctx)
}

func (c *committer) run(ctx context.Context) {
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
func (c *committer) commit(ctx context.Context) {
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
func (c *committer) attempt(ctx context.Context) error {
	var mu sync.Mutex // keeps the one apart from the other
	ended := false
	stalled := time.AfterFunc(stalledAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			c.note(0, true)
		}
	})
	defer stalled.Stop()
	err := guarded(func() error { return c.flush(ctx) })
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return err
}

// guarded returns the panic of a store as an error.
func guarded(flush func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %T", errStorePanic, p)
		}
	}()
	return flush()
}

func (c *committer) lastAsked() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// note notes what is durable, and whether the store fails, and tells all who wait.
func (c *committer) note(kept uint64, failing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.failing = max(c.kept, kept), failing
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait returns when everything that was added to the store before the call is durable, or with an error when ctx, or the
// committer, has ended before.
func (c *committer) wait(ctx context.Context) error {
	mine := c.ask()
	return c.until(ctx, errUnconfirmed, func() bool { return c.kept >= mine })
}

// ask has the goroutine flush, and returns the number whose turn is to be waited for.
func (c *committer) ask() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return c.asked
}

// ready returns nil as long as the store takes what it is given. When it does not, a batch is dealt with as when the queue is
// full: so what nobody can confirm is not forwarded again and again.
func (c *committer) ready(ctx context.Context, policy OverflowPolicy) error {
	works := func() bool { return !c.failing }
	if works, _ := c.look(works); works {
		return nil
	}
	switch policy {
	case OverflowReject:
		return errStoreFails
	case OverflowSkip:
		return errSkip
	case OverflowBlock:
	}
	return c.until(ctx, errStoreFails, works)
}

// until waits for a condition, which is asked under the lock.
func (c *committer) until(ctx context.Context, failure error, condition func() bool) error {
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
			reason = errNotRunning
		}
		if met, _ := c.look(condition); met {
			return nil
		}
		return fmt.Errorf("%w: %w", failure, reason)
	}
}

// look returns whether a condition is met, and what is closed when that may change.
func (c *committer) look(condition func() bool) (met bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return condition(), c.changed
}

// stop ends the goroutine and waits for it until ctx ends: a store may not let it go. Whoever waits then gets an error.
func (c *committer) stop(ctx context.Context) {
	defer close(c.ended)
	c.cancel()
	select {
	case <-c.stopped:
	case <-ctx.Done():
	}
}

// commitDurably returns when the counts of a batch are in the store for good. The batch has its place as long as that
// takes, so when the store fails no more logs are forwarded than there are places.
func (t *tally) commitDurably(ctx context.Context, batch *extract.Batch, records int64) error {
	began := time.Now()
	t.numbers.settled.Add(records)
	defer t.numbers.settled.Add(-records)
	waiter := t.pool.commitFor(batch)
	defer t.pool.leave(waiter)
	if err := t.pool.wait(ctx, waiter); err != nil {
		t.numbers.unconfirmed.Add(records)
		return fmt.Errorf("%w: %w", errUnconfirmed, err)
	}
	if err := t.committer.wait(ctx); err != nil {
		t.numbers.unconfirmed.Add(records)
		return err
	}
	t.numbers.committed(time.Since(began))
	return nil
}
