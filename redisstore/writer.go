package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	minBackoff = 100 * time.Millisecond

	// flushAttempts is how often Flush tries before it gives up.
	flushAttempts = 3
)

var errStopped = errors.New("store is shut down")

// writer is the one goroutine that sends what was counted: every interval, on demand, and for the last time.
type writer struct {
	cfg      *Config
	client   redis.UniversalClient
	names    names
	slots    []*slot
	state    *saver // nil = nothing is kept over restarts
	describe *descriptions
	health   *health
	numbers  *numbers

	requests chan chan error // each reply has room for one
	cancel   context.CancelFunc
	done     chan struct{}

	waiting atomic.Int64 // keys that may have something unsent

	// Only the goroutine has these.
	failures int       // attempts in a row
	next     time.Time // when to flush
}

// start starts the goroutine, which goes on until stop, not until ctx ends.
func (w *writer) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.requests, w.done = make(chan chan error), make(chan struct{})
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
				_ = w.flush(ctx) // health has reported it
			}
			timer.Reset(max(0, min(scatter(w.cfg.FlushInterval), time.Until(w.next))))
		case reply := <-w.requests:
			reply <- w.flushPatiently(ctx)
		}
	}
}

// scatter takes up to a quarter off, by chance: so a fleet which has lost its server does not come back to it as one.
func scatter(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d)/4+1)) }

// plan says when to flush next: after the interval, or, the more attempts in a row have failed, the later.
func (w *writer) plan(err error) {
	if err == nil {
		w.failures = 0
		w.next = time.Now().Add(scatter(w.cfg.FlushInterval))
		return
	}
	w.failures++
	w.next = time.Now().Add(scatter(min(minBackoff<<min(w.failures-1, 20), w.cfg.MaxBackoff)))
}

// flushPatiently tries a few times.
func (w *writer) flushPatiently(ctx context.Context) (err error) {
	for attempt := range flushAttempts {
		if err = w.flush(ctx); err == nil || !classify(err).passes || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(minBackoff << attempt):
		case <-ctx.Done():
		}
	}
	return err
}

// flush sends everything that was counted before the call, in as many rounds as it takes, and whatever keeps the slots alive.
func (w *writer) flush(ctx context.Context) error {
	var err error
	for i := 0; err == nil; i++ {
		for _, s := range w.slots {
			if i == 0 || s.waiting() == 0 {
				s.collect()
			}
		}
		sent := false
		sent, err = w.round(ctx, i == 0)
		w.count()
		if !sent {
			break
		}
	}
	if ctx.Err() != nil && err != nil {
		return err // stopped in the middle: that says nothing about the server
	}
	w.plan(err)
	w.health.note(err)
	return err
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
	keys  []string
	args  []any
	cmd   *redis.Cmd
}

// round sends one flush for each shard that has something to send, or was not heard of for long. sent says whether there may
// be more.
func (w *writer) round(ctx context.Context, first bool) (sent bool, err error) {
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
		c := &calls[i]
		if c.cmd == nil {
			continue
		}
		errs = append(errs, w.settle(c))
		sent = sent || len(c.flush.entries) > 0 || w.slots[c.shard].waiting() > 0
	}
	return sent, combine(errs)
}

func (w *writer) calls(first bool) []call {
	var calls []call
	for i, s := range w.slots {
		f := s.next()
		if f == nil && first && w.isIdle(s) {
			f = s.beat()
		}
		if f == nil {
			continue
		}
		calls = append(calls, call{
			shard: i, flush: f,
			keys: w.names.flushKeys(i, s), args: s.flushArgs(f, w.cfg.Shards, w.cfg.periods()),
		})
	}
	return calls
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
	for i := range w.slots {
		w.state.mark(i)
	}
	return w.state.save(ctx)
}

// unsent returns how much the server has not taken, when the goroutine has ended.
func (w *writer) unsent() (amount int64) {
	for _, s := range w.slots {
		amount += s.unsent()
	}
	return amount
}

// exchange sends all calls and waits for their answers. An error is that of something which is no call.
func (w *writer) exchange(ctx context.Context, calls []call, fields []any) error {
	pipe := w.client.Pipeline()
	var described *redis.IntCmd
	if fields != nil {
		described = pipe.HSet(ctx, w.names.descriptions(), fields...)
	}
	for i := range calls {
		c := &calls[i]
		c.cmd = pipe.EvalSha(ctx, flushScript.Hash(), c.keys, c.args...)
	}
	_, err := pipe.Exec(ctx)
	for i := range calls { // each has its own error, unless there was not even a connection
		if c := &calls[i]; err != nil && c.cmd.Err() == nil && c.cmd.Val() == nil {
			c.cmd.SetErr(err)
		}
	}
	w.load(ctx, calls)
	if described != nil {
		return described.Err()
	}
	return nil
}

// load sends those calls again, with the script, which a server did not know.
func (w *writer) load(ctx context.Context, calls []call) {
	for i := range calls {
		c := &calls[i]
		if err := c.cmd.Err(); err == nil || !redis.HasErrorPrefix(err, "NOSCRIPT") {
			continue
		}
		c.cmd = w.client.EvalSha(ctx, flushScript.Hash(), c.keys, c.args...) // a shard of the same node may have brought it
		if err := c.cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			c.cmd = w.client.Eval(ctx, flushSource, c.keys, c.args...)
		}
	}
}

// settle gives the answer to the slot.
func (w *writer) settle(c *call) error {
	s := w.slots[c.shard]
	reply, err := c.cmd.Result()
	if err != nil {
		return fmt.Errorf("flush shard %d: %w", c.shard, err)
	}
	a, err := parseAnswer(reply)
	if err != nil {
		return fmt.Errorf("flush shard %d: %w", c.shard, err)
	}
	what, err := s.settle(c.flush, a)
	if err != nil {
		return fmt.Errorf("flush shard %d: %w", c.shard, err)
	}
	s.heard = time.Now()
	w.numbers.flushed(len(c.flush.entries), a.full)
	w.health.happened(what, c.shard)
	return nil
}

// combine joins errors; of many shards with the same one it is told once.
func combine(errs []error) error {
	var all []error
	seen := map[string]bool{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		_, text, _ := strings.Cut(err.Error(), ": ")
		if !seen[text] {
			seen[text] = true
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// flushNow has the goroutine flush and waits for it until ctx ends.
func (w *writer) flushNow(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case w.requests <- reply:
	case <-w.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
	}
}

// flushBy has the goroutine flush until the server has taken everything, when ctx has a deadline: a server that fails over, or is
// started again, may be back before. Without a deadline it gives up after a few attempts.
func (w *writer) flushBy(ctx context.Context) error {
	for {
		err := w.flushNow(ctx)
		if _, bounded := ctx.Deadline(); !bounded || err == nil || ctx.Err() != nil || errors.Is(err, errStopped) || !classify(err).passes {
			return err
		}
	}
}

// stop flushes for the last time until ctx ends, and ends the goroutine. A call that the server does not answer ends when its
// connection is closed.
func (w *writer) stop(ctx context.Context) error {
	err := w.flushBy(ctx)
	w.cancel()
	err = errors.Join(err, w.client.Close())
	<-w.done
	return err
}
