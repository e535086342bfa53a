package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/internal/extract"
)

var (
	errNotRunning = errors.New("tally is not running: it was not started or is shut down")
	errQueueFull  = errors.New("tally's queue is full")
	errSkip       = errors.New("tally's queue is full and its policy is to skip")
)

// pool is a bounded queue of batches and a fixed number of workers that apply them. Whoever wants to queue a batch
// takes a place first, and fills it or gives it back later, so that queueing itself never waits and never fails.
//
// Where applying a batch never blocks, the goroutine that commits one applies it as an idle worker, if there is one: to wake
// another takes longer than most batches do.
type pool struct {
	policy OverflowPolicy
	apply  func(*worker, *extract.Batch)
	blocks bool // apply may block

	places  chan struct{} // a token for each place taken; never holds fewer than jobs
	jobs    chan job
	workers []*worker
	idle    chan *worker

	committed []atomic.Int64 // records in committed batches, by metric

	cancel context.CancelFunc
	done   chan struct{} // closed when the last worker has returned
	ended  chan struct{} // closed when nothing more will be applied
}

// job is a batch to be applied.
type job struct {
	batch  *extract.Batch
	waiter *waiter // nil = nobody waits for it
}

// waiter is for who waits until a batch is applied, and longer. The place of the batch is given back when neither the waiter
// nor the worker needs it any more.
type waiter struct {
	applied chan struct{} // closed when the batch is in the store, or the worker has ended
	holders atomic.Int32  // of the place
}

// worker is one goroutine's part of the pool. What it has dealt with stands in its ledger.
type worker struct {
	key, overflow []byte // scratch

	// Where the worker is in its batch.
	at        int      // series
	left      int64    // records of it that are not settled
	resources []uint64 // the numbers of the batch's resources in bindings
	bound     lookahead

	closed atomic.Bool // the deadline has passed: whatever is not in the ledger by now is lost
	stuck  atomic.Bool // a Counter did not let go of the ledger then, which stays as it was seen last

	// mu guards the fields below.
	mu      sync.Mutex
	counted []int64 // records, by metric
	failed  []int64 // records that the store failed on, by metric

	// seenMu guards the field below.
	seenMu sync.Mutex
	seen   []entry // the ledger as it was read last, by metric
}

// entry is what a ledger has of a metric.
type entry struct{ counted, failed int64 }

// closePatience is how long shutdown waits, beyond its deadline, for workers to write what they are at in their ledgers: microseconds, unless
// a Counter blocks, which it must not.
const closePatience = 250 * time.Millisecond

// newPool returns a pool for a number of metrics. apply settles each record of a batch with the worker it is given; blocks
// says whether it may block.
func newPool(cfg QueueConfig, metrics int, apply func(*worker, *extract.Batch), blocks bool) *pool {
	p := &pool{
		policy:    cfg.OnOverflow,
		apply:     apply,
		blocks:    blocks,
		idle:      make(chan *worker, cfg.NumConsumers),
		places:    make(chan struct{}, cfg.QueueSize),
		jobs:      make(chan job, cfg.QueueSize),
		committed: make([]atomic.Int64, metrics),
		cancel:    func() {},
		done:      make(chan struct{}),
		ended:     make(chan struct{}),
	}
	for range cfg.NumConsumers {
		w := &worker{counted: make([]int64, metrics), failed: make([]int64, metrics), seen: make([]entry, metrics)}
		p.workers = append(p.workers, w)
		p.idle <- w
	}
	return p
}

// start starts the workers. They end when ctx does, after they have emptied the queue. beside runs beside them and ends
// with ctx as well.
func (p *pool) start(ctx context.Context, beside func(context.Context)) {
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

func (p *pool) work(ctx context.Context) {
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

// empty applies what is queued. Nothing is queued behind it: the intake is closed before the context is canceled.
func (p *pool) empty() {
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
func (p *pool) take(w *worker, j job) {
	if j.waiter == nil {
		p.release()
	}
	p.apply(w, j.batch)
	p.idle <- w
	if j.waiter != nil {
		close(j.waiter.applied)
		p.leave(j.waiter)
	}
}

// reserve takes a place. When there is none it does what the policy says: it waits until ctx ends, or returns an error
// at once; errSkip says that the batch is to go on without being counted. It returns how long it has waited.
func (p *pool) reserve(ctx context.Context) (waited time.Duration, err error) {
	select {
	case p.places <- struct{}{}:
		return 0, nil
	default:
	}
	switch p.policy {
	case OverflowReject:
		return 0, errQueueFull
	case OverflowSkip:
		return 0, errSkip
	case OverflowBlock:
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
func (p *pool) release() { <-p.places }

// commit fills a place that was taken, or applies the batch at once. It never waits: there are no more batches in jobs than
// places taken.
func (p *pool) commit(b *extract.Batch) { p.fill(job{batch: b}) }

// commitFor is commit for who waits for the batch, and leaves the waiter in the end.
func (p *pool) commitFor(b *extract.Batch) *waiter {
	r := &waiter{applied: make(chan struct{})}
	r.holders.Store(2)
	p.fill(job{b, r})
	return r
}

// leave gives back the waiter's, or the worker's, part of a place.
func (p *pool) leave(r *waiter) {
	if r.holders.Add(-1) == 0 {
		p.release()
	}
}

// wait returns when the batch is in the store, or with an error when ctx or the pool has ended before. It is applied later
// then, or lost as any other.
func (p *pool) wait(ctx context.Context, r *waiter) error {
	select {
	case <-r.applied:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ended:
	}
	if p.hasEnded() { // it may have been applied in part
		return errNotRunning
	}
	return nil
}

func (p *pool) fill(j job) {
	for metric, n := range j.batch.Counted() {
		if n > 0 {
			p.committed[metric].Add(n)
		}
	}
	if !p.blocks {
		select {
		case w := <-p.idle:
			p.take(w, j)
			return
		default:
		}
	}
	p.jobs <- j
}

// shutdown cancels the workers' context and waits until they have emptied the queue or ctx ends. After it nothing more
// is entered in a ledger, so what uncounted returns is lost. The intake must be closed before, unless ctx has ended.
func (p *pool) shutdown(ctx context.Context) {
	p.cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	until := time.Now().Add(closePatience)
	for _, w := range p.workers {
		w.close(until)
	}
	close(p.ended)
}

// hasEnded says whether shutdown has returned, or is about to.
func (p *pool) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// ledger returns how many records of a metric the workers have counted, failed on, and not dealt with yet.
func (p *pool) ledger(metric int) (counted, failed, pending int64) {
	// The ledgers are read before the commits, so that a batch that is applied meanwhile is not seen as less than none.
	for _, w := range p.workers {
		e := w.read(metric)
		counted += e.counted
		failed += e.failed
	}
	return counted, failed, p.committed[metric].Load() - counted - failed
}

// settle enters records as counted, or as failed, and says whether the worker may go on: after the deadline it enters
// nothing and the worker must not touch the store again.
func (w *worker) settle(metric int, counted, failed int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return false
	}
	w.counted[metric] += counted
	w.failed[metric] += failed
	return true
}

// mayGoOn says whether the deadline has not passed yet.
func (w *worker) mayGoOn() bool { return w.settle(0, 0, 0) }

// read returns what the ledger has of a metric.
func (w *worker) read(metric int) entry {
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	if !w.stuck.Load() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[metric] = entry{w.counted[metric], w.failed[metric]}
	}
	return w.seen[metric]
}

// close closes the ledger, when what the worker is at stands in it, but not later than until.
func (w *worker) close(until time.Time) {
	w.closed.Store(true)
	for !w.mu.TryLock() {
		if time.Now().After(until) {
			w.stuck.Store(true)
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.mu.Unlock()
}
