// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/ledger"
)

var (
	errNotRunning = errors.New("tally is not running: it was not started or is shut down")
	errQueueFull  = errors.New("tally's queue is full")
	errSkip       = errors.New("tally's queue is full and its policy is to skip")
)

// closePatience is how long shutdown waits, beyond its deadline, for workers to write what they are at in their
// ledgers: microseconds, unless a Counter blocks, which it must not.
const closePatience = 250 * time.Millisecond

// pool is a bounded queue of batches and a fixed number of workers that apply them. Whoever wants to queue a batch
// takes a place first, and fills it or gives it back later, so that queueing itself never waits and never fails.
//
// Where applying a batch never blocks, the goroutine that commits one applies it as an idle worker, if there is one: to
// wake another takes longer than most batches do.
type pool[T any] struct {
	policy FullPolicy
	book   *ledger.Book
	blocks bool // a worker may block

	places  chan struct{} // a token for each place taken; never holds fewer than jobs
	jobs    chan job[T]
	idle    chan func(T) // workers
	workers int

	cancel context.CancelFunc
	done   chan struct{} // closed when the last worker has returned
	ended  chan struct{} // closed when nothing more will be applied
}

// job is a batch to be applied.
type job[T any] struct {
	batch  T
	waiter *waiter // nil = nobody waits for it
}

// waiter is for who waits until a batch is applied, and longer. The place of the batch is given back when neither the
// waiter nor the worker needs it any more.
type waiter struct {
	applied chan struct{} // closed when the batch is in the store, or the worker has ended
	holders atomic.Int32  // of the place
}

// newPool returns a pool of workers, each a function that applies a batch and enters each of its records in its ledger
// of book; blocks says whether they may block.
func newPool[T any](cfg QueueConfig, book *ledger.Book, workers []func(T), blocks bool) *pool[T] {
	p := &pool[T]{
		policy:  cfg.OnFull,
		book:    book,
		blocks:  blocks,
		idle:    make(chan func(T), len(workers)),
		workers: len(workers),
		places:  make(chan struct{}, cfg.QueueSize),
		jobs:    make(chan job[T], cfg.QueueSize),
		cancel:  func() {},
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	for _, apply := range workers {
		p.idle <- apply
	}
	return p
}

// start starts the workers. They end when ctx does, after they have emptied the queue. beside runs beside them and ends
// with ctx as well.
func (p *pool[T]) start(ctx context.Context, beside func(context.Context)) {
	ctx, p.cancel = context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { beside(ctx) })
	for range p.workers {
		wg.Go(func() { p.work(ctx) })
	}
	go func() {
		wg.Wait()
		close(p.done)
	}()
}

func (p *pool[T]) work(ctx context.Context) {
	for {
		select {
		case j := <-p.jobs:
			p.take(<-p.idle, j)
		case <-ctx.Done():
			p.empty()
			return
		}
	}
}

// empty applies what is queued. Nothing is queued after it: the intake is closed before the context is canceled.
func (p *pool[T]) empty() {
	for {
		select {
		case j := <-p.jobs:
			p.take(<-p.idle, j)
		default:
			return
		}
	}
}

// take applies a batch, as a worker that was idle.
func (p *pool[T]) take(apply func(T), j job[T]) {
	if j.waiter == nil {
		p.release()
	}
	apply(j.batch)
	p.idle <- apply
	if j.waiter != nil {
		close(j.waiter.applied)
		p.leave(j.waiter)
	}
}

// reserve takes a place. When there is none it does what the policy says: it waits until ctx ends, or returns an error
// at once; errSkip says that the batch is to go on without being counted. It returns how long it has waited.
func (p *pool[T]) reserve(ctx context.Context) (waited time.Duration, err error) {
	select {
	case p.places <- struct{}{}:
		return 0, nil
	default:
	}
	switch p.policy {
	case FullReject:
		return 0, errQueueFull
	case FullSkip:
		return 0, errSkip
	case FullBlock:
	}
	start := time.Now()
	select {
	case p.places <- struct{}{}:
		return time.Since(start), nil
	case <-ctx.Done():
		return time.Since(start), fmt.Errorf("%w: %w", errQueueFull, context.Cause(ctx))
	case <-p.ended:
		return time.Since(start), errNotRunning
	}
}

// release gives back a place that was taken and will not be filled.
func (p *pool[T]) release() { <-p.places }

// commit fills a place that was taken, or applies the batch at once. It never waits: there are no more batches in jobs
// than places taken. records are those of the batch that are to be counted, by metric.
func (p *pool[T]) commit(batch T, records []int64) { p.fill(job[T]{batch: batch}, records) }

// commitFor is commit for who waits for the batch, and leaves the waiter in the end.
func (p *pool[T]) commitFor(batch T, records []int64) *waiter {
	w := &waiter{applied: make(chan struct{})}
	w.holders.Store(2)
	p.fill(job[T]{batch, w}, records)
	return w
}

func (p *pool[T]) fill(j job[T], records []int64) {
	p.book.Commit(records)
	if !p.blocks {
		select {
		case apply := <-p.idle:
			p.take(apply, j)
			return
		default:
		}
	}
	p.jobs <- j
}

// leave gives back the waiter's, or the worker's, part of a place.
func (p *pool[T]) leave(w *waiter) {
	if w.holders.Add(-1) == 0 {
		p.release()
	}
}

// wait returns when the batch is in the store, or with an error when ctx or the pool has ended before. It is applied
// later then, or lost as any other.
func (p *pool[T]) wait(ctx context.Context, w *waiter) error {
	select {
	case <-w.applied:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ended:
	}
	if p.book.IsClosed() { // it may have been applied in part
		return errNotRunning
	}
	return nil
}

// size returns how many places are taken, and capacity how many there are.
func (p *pool[T]) size() int     { return len(p.places) }
func (p *pool[T]) capacity() int { return cap(p.places) }

// shutdown cancels the workers' context and waits until they have emptied the queue or ctx ends. After it nothing more
// is entered in a ledger, so what is pending is lost. The intake must be closed before, unless ctx has ended.
func (p *pool[T]) shutdown(ctx context.Context) {
	p.cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	p.book.Close(closePatience)
	close(p.ended)
}
