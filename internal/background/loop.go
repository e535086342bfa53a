// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package background runs the work of a component in a goroutine of its own: every interval, when somebody asks for it,
// and a last time.
package background

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/logtally/tallyprocessor/internal/recovered"
)

// ErrNotRunning says that a Loop is not started yet, or has ended.
var ErrNotRunning = errors.New("not running")

// Work is one run. It is to end with ctx; a panic is an error.
type Work func(ctx context.Context) error

// Settings say what a Loop does, and when. Runs are one at a time.
type Settings struct {
	// Name says what the work does, for errors: "send totals".
	Name string

	// Delay is the time until the first run of an Interval; 0 = it is at once.
	Delay time.Duration

	// Interval is the time from the beginning of one run to that of the next, which waits for the one before. Runs that
	// somebody asks for come in between. 0 = there are no others.
	Interval time.Duration

	// Jitter is how much shorter an interval may be, at random, as a part of it: so that many processes do not work at
	// the same moments. 0 = nothing.
	Jitter float64

	// Run is the work. Its ctx goes on until the time for Stop is over.
	Run Work

	// Last is the last run. Its ctx is that of Stop, and may be over: then nobody waits for it. nil = there is none,
	// and Stop cancels the ctx of the present run at once.
	Last Work

	// Failed is called by the goroutine with the error of each Run. nil = nobody is told.
	Failed func(error)
}

// Loop runs work in the background from Start to Stop, once. It is safe for concurrent use.
type Loop struct {
	settings Settings
	asked    chan struct{}        // has room for one
	stop     chan context.Context // of the last run
	done     chan struct{}        // closed when the goroutine has ended
	left     chan struct{}        // closed when Stop waits no longer
	lastErr  error                // of the last run; set before done is closed

	// mu guards the fields below.
	mu     sync.Mutex
	phase  phase
	cancel context.CancelFunc // of the runs
	next   *run               // that somebody waits for and that has not begun; nil = nobody does
}

// phase is where a Loop is in its life.
type phase uint8

const (
	built phase = iota
	started
	stopped
)

// run is a run that somebody waits for.
type run struct {
	done chan struct{}
	err  error // set before done is closed
}

// New returns a Loop that is yet to be started.
func New(settings Settings) *Loop {
	return &Loop{
		settings: settings, asked: make(chan struct{}, 1), stop: make(chan context.Context, 1),
		done: make(chan struct{}), left: make(chan struct{}),
	}
}

// Start starts the goroutine, which goes on until Stop, not until ctx ends. A Loop that was started or stopped before
// stays as it is.
func (l *Loop) Start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != built {
		return
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.phase = started
	go l.loop(ctx)
}

// Do waits for the next run that begins after the call, and returns its error. All who call it meanwhile have the same
// run. When ctx ends, Do returns, and the run goes on.
func (l *Loop) Do(ctx context.Context) error {
	r := l.ask()
	if r == nil {
		return l.named(ErrNotRunning)
	}
	select {
	case <-r.done:
	case <-l.left:
	case <-ctx.Done():
	}
	select {
	case <-r.done: // perhaps together with another
		return r.err
	default:
	}
	if ctx.Err() != nil {
		return l.named(context.Cause(ctx))
	}
	return l.named(ErrNotRunning)
}

// ask returns the run that has yet to begin, or nil when there will be none.
func (l *Loop) ask() *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != started {
		return nil
	}
	if l.next == nil {
		l.next = &run{done: make(chan struct{})}
		select {
		case l.asked <- struct{}{}:
		default:
		}
	}
	return l.next
}

// take returns the run that somebody waits for, which begins now, or nil.
func (l *Loop) take() *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.next
	if l.next = nil; r != nil {
		select {
		case <-l.asked:
		default: // that is why the run begins
		}
	}
	return r
}

// Stop has the last run begin after the present one, and waits for it until ctx ends. Then the ctx of the present run
// is canceled, and the goroutine is left behind: it ends when its work does. Whoever still waits for a run gets
// ErrNotRunning. Stop does nothing for a Loop that does not run; it can not be started any more.
func (l *Loop) Stop(ctx context.Context) error {
	if !l.end() {
		return nil
	}
	defer close(l.left)
	defer l.cancel()
	if l.settings.Last == nil {
		l.cancel()
	}
	l.stop <- ctx
	select {
	case <-l.done:
	case <-ctx.Done():
	}
	select {
	case <-l.done: // perhaps together with the end of ctx
		return l.lastErr
	default:
		return l.named(context.Cause(ctx))
	}
}

// end says that the loop is to end, and whether it was running.
func (l *Loop) end() (running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	running = l.phase == started
	l.phase = stopped
	return running
}

func (l *Loop) loop(ctx context.Context) {
	defer close(l.done)
	timer := time.NewTimer(l.settings.Delay)
	defer timer.Stop()
	if l.settings.Interval == 0 {
		timer.Stop()
	}
	for {
		select {
		case <-timer.C:
			timer.Reset(l.interval())
		case <-l.asked:
		case last := <-l.stop:
			if l.settings.Last != nil {
				l.lastErr = l.guard(last, l.settings.Last)
			}
			return
		}
		if len(l.stop) == 0 { // else it goes before what has come together with it
			l.run(ctx)
		}
	}
}

// run does one run, for all that wait for it.
func (l *Loop) run(ctx context.Context) {
	r := l.take()
	err := l.guard(ctx, l.settings.Run)
	if r != nil {
		r.err = err
		close(r.done)
	}
	if err != nil && l.settings.Failed != nil {
		l.settings.Failed(err)
	}
}

// guard returns the panic of work as an error.
func (l *Loop) guard(ctx context.Context, work Work) error {
	err := recovered.Call(func() error { return work(ctx) })
	if errors.Is(err, recovered.ErrPanic) {
		return l.named(err)
	}
	return err
}

// interval returns the time until the next run.
func (l *Loop) interval() time.Duration {
	return l.settings.Interval - time.Duration(rand.Float64()*l.settings.Jitter*float64(l.settings.Interval))
}

func (l *Loop) named(err error) error { return fmt.Errorf("%s: %w", l.settings.Name, err) }
