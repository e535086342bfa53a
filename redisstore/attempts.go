// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// minBackoff is the first wait after a failure.
	minBackoff = 100 * time.Millisecond

	// patience is how long a request waits at most for attempts to be due: so those who ask do not notice that a
	// connection has broken.
	patience = 500 * time.Millisecond

	// maxPause is the longest wait between two attempts of a flush with a deadline.
	maxPause = time.Second
)

var errStopped = errors.New("store is shut down")

// request asks the goroutine to flush.
type request struct {
	reply chan error // has room for one
	last  bool       // there is no later attempt
}

// scatter takes up to a quarter off, by chance: so a fleet which has lost its server does not come back to it as one.
func scatter(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d)/4+1)) }

// plan says when to flush next: after the interval, or, the more attempts in a row have failed, the later.
func (w *writer) plan(err error) {
	w.failure = err
	w.absence.Store(nil)
	if err == nil {
		w.failures = 0
		w.next = time.Now().Add(scatter(w.cfg.FlushInterval))
		return
	}
	if classify(err).absent {
		w.absence.Store(&err)
	}
	w.failures++
	w.next = time.Now().Add(scatter(min(minBackoff<<min(w.failures-1, 20), w.cfg.MaxBackoff)))
}

// answer flushes. While the server fails, it waits for the next attempt to be due, or returns the error of the last:
// those who ask do not make attempts more.
func (w *writer) answer(ctx context.Context, r request) (err error) {
	if r.last {
		if err = w.flush(ctx, true); err == nil {
			w.leave(ctx)
		}
		return err
	}
	until := time.Now().Add(patience)
	for {
		if !w.isDue(ctx, until) {
			return w.failure
		}
		err = w.flush(ctx, false)
		if err == nil || !classify(err).passes || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
	}
}

// isDue says whether it is time for an attempt. If it is before until, it waits for that.
func (w *writer) isDue(ctx context.Context, until time.Time) bool {
	if w.failure == nil || !w.next.After(time.Now()) {
		return true
	}
	if w.next.After(until) {
		return false
	}
	select {
	case <-time.After(time.Until(w.next)):
		return true
	case <-ctx.Done():
		return false
	}
}

// away returns why there is no use in asking the server, nil if there may be. Of a Cluster some nodes may be there.
func (w *writer) away() error {
	if err := w.absence.Load(); err != nil && !w.cfg.Cluster {
		return *err
	}
	return nil
}

// doubt makes the next flush ask the server whether it is there, if that is what the error of a reader is about.
func (w *writer) doubt(err error) {
	if classify(err).absent {
		w.doubted.Store(true)
	}
}

// flushNow has the goroutine flush and waits for it until ctx ends. While the server fails, it is the goroutine that
// says when to try again: till then the error is that of its last attempt.
func (w *writer) flushNow(ctx context.Context) error { return w.request(ctx, false) }

func (w *writer) request(ctx context.Context, last bool) error {
	r := request{reply: make(chan error, 1), last: last}
	select {
	case w.requests <- r:
	case <-w.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
	}
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
	}
}

// flushBy has the goroutine flush until the server has taken everything, when ctx has a deadline: a server that fails
// over, or is started again, may be back before.
func (w *writer) flushBy(ctx context.Context, last bool) error {
	for pause := minBackoff; ; pause = min(2*pause, maxPause) {
		err := w.request(ctx, last)
		if _, bounded := ctx.Deadline(); !bounded || err == nil || errors.Is(err, errStopped) || !classify(err).passes {
			return err
		}
		if last && w.waiting.Load() == 0 {
			return nil // of what is not taken nothing is a count
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// flushLast flushes for the last time, in three quarters of the time until the deadline of ctx: the rest is for keeping
// what the server does not take.
func (w *writer) flushLast(ctx context.Context) error {
	end, _ := ctx.Deadline() // Shutdown has set one
	ctx, cancel := context.WithDeadline(ctx, end.Add(-time.Until(end)/4))
	defer cancel()
	return w.flushBy(ctx, true)
}

// close waits for the goroutine, which is canceled. A call that the server does not answer ends when its connection is
// closed.
func (w *writer) close() error {
	err := w.client.Close()
	<-w.done
	return err
}
