// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/logtally/tallyprocessor/internal/capability"
)

const (
	// attemptTimeouts is how many times `timeout` a round of calls takes at most: to connect, and to be answered.
	attemptTimeouts = 2

	// maxStateChanges is in how many rounds of a flush the state of the server may have changed. A server fails over,
	// or is wiped, once in a while; one whose state changes all the time is not asked again in this flush.
	maxStateChanges = 8
)

var errUnstable = errors.New("the state of the server changes at each flush")

// writer is the one goroutine that sends what was counted: every interval, on demand, and for the last time.
type writer struct {
	cfg       *Config
	client    redis.UniversalClient
	names     names
	local     *local
	slots     []*slot
	sweeps    []sweep              // by shard
	listeners capability.Listeners // of those who count
	state     *saver               // nil = nothing is kept over restarts
	describe  *descriptions
	health    *health
	numbers   *numbers

	requests chan request
	cancel   context.CancelFunc
	done     chan struct{}

	waiting atomic.Int64 // keys that may have something unsent
	// of the last attempt, when no server answers, or none that lets us in; nil = one does
	absence atomic.Pointer[error]
	doubted atomic.Bool // a reader has got no answer

	// Only the goroutine has these.
	failures int       // attempts in a row
	failure  error     // of the last
	next     time.Time // when to flush
	heard    time.Time // when the server last answered; zero = not yet

	aliasesSwept time.Duration // when, by local.age
}

// start starts the goroutine, which goes on until stop, not until ctx ends.
func (w *writer) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.requests, w.done = make(chan request), make(chan struct{})
	go w.run(ctx)
}

func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			if time.Now().Before(w.next) {
				w.keepUnsent(ctx)
			} else {
				_ = w.flush(ctx, false) // health has reported it
			}
			w.forget(ctx)
			timer.Reset(max(0, min(scatter(w.cfg.FlushInterval), time.Until(w.next))))
		case r := <-w.requests:
			r.reply <- w.answer(ctx, r)
		}
	}
}

// flush sends everything that was counted before the call, once, and whatever keeps the slots alive. What is counted
// meanwhile is for the next one: so it ends, however much that is and however far away the server. The last one does
// not look whether the server is there for nothing.
func (w *writer) flush(ctx context.Context, last bool) error {
	began := time.Now()
	for _, s := range w.slots {
		s.collect()
	}
	err := w.rounds(ctx)
	if err == nil && !last {
		err = w.ask(ctx)
	}
	if ctx.Err() != nil && err != nil {
		return err // stopped in the middle: that says nothing about the server
	}
	w.plan(err)
	w.health.note(err, began)
	return err
}

// rounds sends what was collected, a chunk of each shard at a time, and all once more where the server has lost it.
func (w *writer) rounds(ctx context.Context) error {
	changes := 0
	for first := true; ; first = false {
		changed, err := w.round(ctx, first)
		w.count()
		if changed {
			changes++
		}
		switch {
		case err != nil || w.waiting.Load() == 0:
			return err
		case changes > maxStateChanges:
			return errUnstable
		}
	}
}

func (w *writer) count() {
	n := 0
	for _, s := range w.slots {
		n += s.waiting()
	}
	w.waiting.Store(int64(n))
}

// call is one flush on its way.
type call struct {
	shard int
	flush *flush
	scriptCall
}

// round sends one flush for each shard that has something to send, or was not heard of for long. changed says whether
// the server was in another state than a slot left it in.
func (w *writer) round(ctx context.Context, first bool) (changed bool, err error) {
	calls := w.calls(first)
	fields := w.describe.take()
	if len(calls) == 0 && fields == nil {
		return false, nil
	}
	w.keep(ctx, calls)
	errs := []error{w.exchange(ctx, calls, fields)}
	if errs[0] != nil {
		w.describe.giveBack()
	}
	for i := range calls {
		what, err := w.settle(&calls[i])
		errs = append(errs, err)
		changed = changed || what != eventNone
	}
	err = combine(errs)
	w.hear(err)
	return changed, err
}

// ask asks the server whether it is there, when there was nothing to send and it was not heard of for long: so one that
// is not, or does not let us in, is known before anything is counted, and that it is back as well.
func (w *writer) ask(ctx context.Context) error {
	if !w.doubted.Load() && !w.heard.IsZero() && time.Since(w.heard) < w.cfg.HeartbeatInterval {
		return nil
	}
	pipe := w.client.Pipeline()
	for i := range w.slots {
		pipe.Exists(ctx, w.names.totals(i))
	}
	err := w.attempt(ctx, pipe)
	w.hear(err)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	return nil
}

// hear notes that the server has answered.
func (w *writer) hear(err error) {
	if err == nil {
		w.heard = time.Now()
		w.doubted.Store(false)
	}
}

func (w *writer) calls(first bool) []call {
	var calls []call
	for i, s := range w.slots {
		f := s.next()
		if f == nil && first && w.isIdle(s) {
			f = s.heartbeat()
		}
		if f == nil {
			continue
		}
		calls = append(calls, call{
			shard: i, flush: f,
			scriptCall: scriptCall{script: flushScript, keys: w.names.flushKeys(i, s), args: s.flushArgs(f, w.cfg.Shards, w.cfg.periods())},
		})
	}
	return calls
}

// leave frees what the server keeps of this process to compare with, when it ends for good: with `storage`, the next
// goes on from it. If that fails, the server frees it when it has not heard of the process for long.
func (w *writer) leave(ctx context.Context) {
	pipe := w.client.Pipeline()
	for i, s := range w.slots {
		if w.state == nil && s.isDone() {
			pipe.Eval(ctx, leaveSource, w.names.flushKeys(i, s)[1:], s.leaveArgs(w.cfg.periods())...)
		}
	}
	if pipe.Len() > 0 {
		_ = w.attempt(ctx, pipe) // nothing depends on it
	}
}

// isIdle says whether the server has not heard of a slot for the heartbeat interval.
func (w *writer) isIdle(s *slot) bool {
	return s.heard.IsZero() || time.Since(s.heard) >= w.cfg.HeartbeatInterval
}

// keep writes what is about to be sent to the storage, so that after a crash it is known what was on its way.
func (w *writer) keep(ctx context.Context, calls []call) {
	if w.state == nil {
		return
	}
	for _, c := range calls {
		if len(c.flush.entries) > 0 {
			w.state.mark(c.shard)
		}
	}
	w.health.noteStorage(w.state.save(ctx))
}

// keepUnsent writes what has changed to the storage while the server fails.
func (w *writer) keepUnsent(ctx context.Context) {
	if w.state == nil {
		return
	}
	for i, s := range w.slots {
		s.collect()
		if s.waiting() > 0 {
			w.state.mark(i)
		}
	}
	w.health.noteStorage(w.state.save(ctx))
}

// keepLast writes everything to the storage when the goroutine has ended.
func (w *writer) keepLast(ctx context.Context) error {
	if w.state == nil {
		return nil
	}
	for i, s := range w.slots {
		s.collect()
		w.state.mark(i)
	}
	return w.state.save(ctx)
}

// unsent returns how much the server has not taken, when the goroutine has ended.
func (w *writer) unsent() (amount int64) {
	for _, s := range w.slots {
		s.collect()
		amount += s.unsent()
	}
	return amount
}

// settle gives the answer to the slot.
func (w *writer) settle(c *call) (event, error) {
	what, err := w.take(c)
	if err != nil {
		return eventNone, fmt.Errorf("flush shard %d: %w", c.shard, err)
	}
	if what != eventNone {
		w.describe.giveBack() // they may be lost as well
		w.health.happened(what, c.shard)
	}
	return what, nil
}

func (w *writer) take(c *call) (event, error) {
	reply, err := c.cmd.Result()
	if err != nil {
		return eventNone, err
	}
	a, err := parseAnswer(reply)
	if err != nil {
		return eventNone, err
	}
	s := w.slots[c.shard]
	what, err := s.settle(c.flush, a)
	if err != nil {
		return eventNone, err
	}
	s.heard = time.Now()
	if a.status == statusOK {
		w.numbers.flushed(len(c.flush.entries), a.full)
	}
	return what, nil
}
