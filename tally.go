package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/cardinality"
	"github.com/logtally/tallyprocessor/internal/deadline"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/identity"
)

var errLost = errors.New("shut down before all records were counted")

var errForgetsOtherwise = errors.New("the store that was injected does not drop keys after that time: make it with `WithForgetAfter`, or take the option out")

var errNeedsAdder = errors.New("store cannot add more than 1 at once, which a metric with a `value` needs: it does not implement Adder")

// tally is what counts for one component id: a queue with its workers, a store, the limits of its metrics, and the
// numbers it tells about itself.
type tally struct {
	logger   *zap.Logger
	metrics  []namedMetric
	keyLimit int

	store     MetricStore
	adder     Adder          // the store, if it can add n at once
	binder    Binder         // the store, if it has Counters
	bindings  *bindings      // of binder
	overflows OverflowKeeper // the store, if it remembers what overflows
	limiters  []*cardinality.Limiter
	pool      *pool
	numbers   *numbers
	explain   *explainer
	totals    *publisher // nil when the store is not ours
	committer *committer // nil without `durable`
	flusher   Flusher    // the store, if it buffers and is no extension's, which flushes it itself when all have counted

	// ends undo what Start has begun at a store that may be others' too.
	ends []func()

	// forgetting keeps apart counting, for which it is read-locked, and the store's dropping of keys: a key is in the
	// store and in its limiter, or in neither.
	forgetting    sync.RWMutex
	stopForgetter func()

	keepForgetting func(context.Context) // of the store that is ours

	logOverflows bool
	panicLogged  sync.Once
}

// startTally returns a running tally; its workers do not end with ctx but with shutdown. A nil store makes it count in a
// MemoryStore of its own and publish the totals.
func startTally(
	ctx context.Context, set processor.Settings, label string, cfg *Config, store MetricStore, x *extract.Extractor,
) (*tally, error) {
	t := &tally{
		logger:        set.Logger,
		metrics:       cfg.metrics(),
		keyLimit:      cfg.KeyLengthLimit,
		store:         store,
		stopForgetter: func() {},

		keepForgetting: func(context.Context) {},
		logOverflows:   cfg.LogOverflowedKeys,
	}
	t.explain = newExplainer(set.Logger, cfg.ErrorMode == ottl.SilentError, t.metrics, x)
	if err := t.explain.warnOfFields(t.metrics); err != nil {
		return nil, err
	}
	if t.store == nil {
		t.explain.warnOfNoTelemetry(ctx, set.MeterProvider)
		own := NewMemoryStore(WithForgetAfter(cfg.ForgetAfter))
		t.store = own
		t.totals = newPublisher(newPublished(set, t.metrics, t.store), func(i int, err error) {
			t.logger.Error("A key is counted and not published", zap.String("metric", t.metrics[i].name), zap.Error(err))
		})
		t.keepForgetting = own.KeepForgetting
	}
	if forgets, ok := t.store.(Forgetter); cfg.ForgetAfter > 0 && !(ok && forgets.ForgetAfter() == cfg.ForgetAfter) {
		return nil, fmt.Errorf("`forget_after` is %v: %w", cfg.ForgetAfter, errForgetsOtherwise)
	}
	t.adder, _ = t.store.(Adder)
	t.binder, _ = t.store.(Binder)
	t.bindings = newBindings(t.admitted)
	t.overflows, _ = t.store.(OverflowKeeper)
	if cfg.Store == nil {
		t.flusher, _ = t.store.(Flusher)
	}
	for _, m := range t.metrics {
		if m.Value != "" && t.adder == nil && t.binder == nil {
			return nil, fmt.Errorf("`logs::%s::value` is %q: %w", m.name, m.Value, errNeedsAdder)
		}
	}
	if cfg.Durable {
		var err error
		if t.committer, err = newCommitter(t.store, func() { t.numbers.storeErrors.Add(1) }); err != nil {
			return nil, err
		}
	}
	if err := t.introduceWithin(ctx, x); err != nil {
		return nil, err
	}
	t.pool = newPool(cfg.Queue, len(t.metrics), t.apply, t.binder == nil)
	var err error
	if t.numbers, err = newNumbers(set, label, t); err != nil {
		t.end()
		return nil, err
	}
	if err := t.showKnown(x); err != nil {
		t.end()
		return nil, errors.Join(err, t.withdraw())
	}
	t.pool.start(context.WithoutCancel(ctx), t.keepForgetting)
	if t.committer != nil {
		t.committer.start(ctx)
	}
	return t, nil
}

func (t *tally) numbersOfMetrics() map[string]int {
	numbers := map[string]int{}
	for i, m := range t.metrics {
		numbers[m.name] = i
	}
	return numbers
}

// forget lets the store drop keys while nobody counts, and frees what stood for them.
func (t *tally) forget(numbers map[string]int, drop func() []string) {
	t.forgetting.Lock()
	defer t.forgetting.Unlock()
	for _, text := range drop() {
		metric, _ := identity.MetricOf(text)
		if i, ours := numbers[metric]; ours {
			t.limiters[i].Forget(text)
			if t.totals != nil {
				t.totals.remove(i, text)
			}
		}
	}
	t.bindings.shrink()
}

// admitted returns how many keys the limits have admitted.
func (t *tally) admitted() int {
	sum := 0
	for _, l := range t.limiters {
		keys, _ := l.Len()
		sum += keys
	}
	return sum
}

// shutdown applies what is queued, flushes a store that was injected, and returns what could not be done before ctx ended.
func (t *tally) shutdown(ctx context.Context) error {
	t.pool.shutdown(ctx)
	if t.committer != nil {
		t.committer.stop(ctx)
	}
	t.leaveStore(ctx)
	var errs []error
	for i, m := range t.metrics {
		if _, _, lost := t.pool.ledger(i); lost > 0 {
			errs = append(errs, fmt.Errorf("%w: %d records of metric %q", errLost, lost, m.name))
		}
	}
	if t.totals != nil {
		if err := t.totals.wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("publish the last keys: %w", err))
		}
	}
	if t.flusher != nil {
		flush := func(ctx context.Context) error { return guarded(func() error { return t.flusher.Flush(ctx) }) }
		if err := deadline.Within(ctx, flush); err != nil {
			errs = append(errs, fmt.Errorf("flush the store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// leaveStore ends the part that t has in the store. That waits for a worker which the store has not let
// go, if there is one, but not longer than ctx.
func (t *tally) leaveStore(ctx context.Context) {
	_ = deadline.Within(ctx, func(context.Context) error { // what is left of the part counts nothing
		t.end()
		return nil
	})
}

// forgotten returns what the store has dropped of metric i.
func (t *tally) forgotten(i int) Forgotten {
	f, ok := t.store.(Forgetter)
	if !ok {
		return Forgotten{}
	}
	return f.Forgotten()[t.metrics[i].name]
}

// withdraw takes what a tally tells off the Collector's telemetry. That is not for shutdown to do: the Collector pushes
// its metrics a last time after it has shut down its components, and the last counts are in that.
func (t *tally) withdraw() error {
	t.numbers.stop()
	if t.totals == nil {
		return nil
	}
	return t.totals.published.stop()
}

// consume is the way of a batch: reserve, extract, forward, commit. Once the next consumer has accepted the logs there
// is nothing left that can wait or fail, but for the wait that `durable` asks for.
func (t *tally) consume(ctx context.Context, logs plog.Logs, x *extract.Extractor, next consumer.Logs) error {
	records := int64(logs.LogRecordCount())
	if records == 0 {
		return next.ConsumeLogs(ctx, logs)
	}
	t.numbers.enter(records)
	defer t.numbers.leave(records)

	if err := ctx.Err(); err != nil {
		t.noneCounted(rejected, records)
		return err
	}
	err := t.reserve(ctx)
	switch {
	case errors.Is(err, errSkip):
		if err := t.forward(ctx, logs, records, next); err != nil {
			return err
		}
		t.noneCounted(skipped, records)
		return nil
	case err != nil:
		t.noneCounted(rejected, records)
		return err
	}
	return t.count(ctx, logs, records, x, next)
}

// reserve takes a place, if the store is one that can be counted in.
func (t *tally) reserve(ctx context.Context) error {
	waited, err := t.pool.reserve(ctx)
	if waited > 0 {
		t.numbers.waited(waited)
	}
	if err != nil || t.committer == nil {
		return err
	}
	if err = t.committer.ready(ctx, t.pool.policy); err != nil {
		t.pool.release()
	}
	return err
}

// count does what is left when a place is reserved.
func (t *tally) count(
	ctx context.Context, logs plog.Logs, records int64, x *extract.Extractor, next consumer.Logs,
) error {
	var batch *extract.Batch
	committed := false
	defer func() { // also when the next consumer panics
		if committed {
			return
		}
		t.pool.release()
		if batch != nil {
			batch.Release()
		}
	}()
	batch, err := x.Extract(ctx, logs)
	if err != nil {
		t.noneCounted(rejected, records)
		return consumererror.NewPermanent(err)
	}
	if err := t.forward(ctx, logs, records, next); err != nil {
		return err
	}
	t.note(batch)
	switch {
	case batch.Len() == 0:
	case t.committer != nil:
		committed = true
		return t.commitDurably(ctx, batch, records)
	default:
		committed = true
		t.pool.commit(batch)
	}
	return nil
}

// forward hands the logs on. A next consumer that returns an error, or panics, has not accepted them.
func (t *tally) forward(ctx context.Context, logs plog.Logs, records int64, next consumer.Logs) error {
	accepted := false
	defer func() {
		if !accepted {
			t.noneCounted(refusedDownstream, records)
		}
	}()
	err := next.ConsumeLogs(ctx, logs)
	accepted = err == nil
	return err
}

// note enters which records of an accepted batch are not counted, and why.
func (t *tally) note(b *extract.Batch) {
	for i, n := range b.NotCounted() {
		t.notCounted(i, condition, n.Condition, b)
		t.notCounted(i, missingAttribute, n.MissingAttribute, b)
		t.notCounted(i, conditionError, n.ConditionError, b)
		t.notCounted(i, valueError, n.ValueError, b)
	}
	t.explain.batch(b)
	if metric, err := b.Error(); err != nil {
		t.explain.failed(metric, err)
	}
}

// noneCounted enters records that no metric counts.
func (t *tally) noneCounted(r reason, records int64) {
	for i := range t.metrics {
		t.notCounted(i, r, records, nil)
	}
}

// notCounted enters records that metric i does not count. A batch, if it is known, has the details.
func (t *tally) notCounted(i int, r reason, records int64, b *extract.Batch) {
	if records > 0 {
		t.numbers.notCounted(i, r, records)
		t.explain.notCounted(i, r, records, b)
	}
}
