package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/cardinality"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/identity"
)

var errLost = errors.New("shut down before all records were counted")

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
	totals    *published // nil when the store is not ours
	committer *committer // nil without `durable`

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
	ctx context.Context, set processor.Settings, cfg *Config, store MetricStore, x *extract.Extractor,
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
	if t.store == nil {
		own := NewMemoryStore(WithForgetAfter(cfg.ForgetAfter))
		t.store = own
		t.totals = newPublished(set, t.metrics, t.store)
		t.keepForgetting = own.KeepForgetting
	}
	t.adder, _ = t.store.(Adder)
	t.binder, _ = t.store.(Binder)
	t.bindings = newBindings(t.admitted)
	t.overflows, _ = t.store.(OverflowKeeper)
	for _, m := range t.metrics {
		if m.Value != "" && t.adder == nil && t.binder == nil {
			return nil, fmt.Errorf("`logs::%s::value` is %q: %w", m.name, m.Value, errNeedsAdder)
		}
	}
	for i, m := range t.metrics {
		t.limiters = append(t.limiters, cardinality.NewLimiter(m.cardinalityLimit(), x.LastKey(i)))
	}
	if cfg.Durable {
		var err error
		if t.committer, err = newCommitter(t.store, func() { t.numbers.storeErrors.Add(1) }); err != nil {
			return nil, err
		}
	}
	if err := t.introduce(ctx); err != nil {
		return nil, err
	}
	t.pool = newPool(cfg.Queue, len(t.metrics), t.apply, t.binder == nil)
	var err error
	if t.numbers, err = newNumbers(set, t); err != nil {
		t.stopForgetter()
		return nil, err
	}
	t.pool.start(context.WithoutCancel(ctx), t.keepForgetting)
	if t.committer != nil {
		t.committer.start(ctx)
	}
	return t, nil
}

// introduce tells the store the metrics, and the limiters the keys that the store holds already: those were admitted
// before, and stay so until the store forgets them.
func (t *tally) introduce(ctx context.Context) error {
	numbers := t.numbersOfMetrics()
	if f, ok := t.store.(Forgetter); ok {
		t.stopForgetter = f.AroundForget(func(drop func() []string) { t.forget(numbers, drop) })
	}
	t.forgetting.Lock() // no key is dropped between its listing and its entry in a limiter
	defer t.forgetting.Unlock()
	describer, _ := t.store.(Describer)
	for _, m := range t.metrics {
		if describer != nil {
			describer.Describe(Description{
				Metric: m.name, Description: m.Description, Unit: m.Unit, CardinalityLimit: m.cardinalityLimit(),
			})
		}
	}
	if local, ok := t.store.(LocalLister); ok {
		for total := range local.LocalTotals() {
			t.admit(numbers, total.Key)
		}
		return nil
	}
	lister, ok := t.store.(Lister)
	if !ok {
		return nil
	}
	for total, err := range lister.Totals(ctx) {
		if err != nil {
			return fmt.Errorf("list totals: %w", err)
		}
		t.admit(numbers, total.Key)
	}
	return nil
}

// admit enters a key that the store holds in the limiter of its metric.
func (t *tally) admit(numbers map[string]int, text string) {
	key, err := identity.Decode(text)
	if err != nil {
		return // somebody else's key
	}
	if i, ours := numbers[key.Metric]; ours {
		t.limiters[i].Restore(text, isOverflow(key))
	}
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

func isOverflow(k identity.Key) bool {
	return slices.ContainsFunc(k.Attributes, func(a identity.Attribute) bool { return a.Name == extract.OverflowAttribute })
}

// shutdown applies what is queued, flushes the store, and returns what could not be done before ctx ended.
func (t *tally) shutdown(ctx context.Context) error {
	t.pool.shutdown(ctx)
	if t.committer != nil {
		t.committer.stop(ctx)
	}
	t.leaveForgetter(ctx)
	var errs []error
	for i, m := range t.metrics {
		if _, _, lost := t.pool.ledger(i); lost > 0 {
			errs = append(errs, fmt.Errorf("%w: %d records of metric %q", errLost, lost, m.name))
		}
	}
	if f, ok := t.store.(Flusher); ok {
		if err := guarded(func() error { return f.Flush(ctx) }); err != nil {
			errs = append(errs, fmt.Errorf("flush the store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// leaveForgetter ends the part that t has in the store's forgetting. That waits for a worker which the store has not let
// go, if there is one, but not longer than ctx.
func (t *tally) leaveForgetter(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.stopForgetter()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
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
	return t.totals.stop()
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
		t.notCounted(i, condition, n.Condition)
		t.notCounted(i, missingAttribute, n.MissingAttribute)
		t.notCounted(i, conditionError, n.ConditionError)
		t.notCounted(i, valueError, n.ValueError)
	}
	t.explain.batch(b)
	if metric, err := b.Error(); err != nil {
		t.explain.failed(metric, err)
	}
}

// noneCounted enters records that no metric counts.
func (t *tally) noneCounted(r reason, records int64) {
	for i := range t.metrics {
		t.notCounted(i, r, records)
	}
}

// notCounted enters records that metric i does not count.
func (t *tally) notCounted(i int, r reason, records int64) {
	if records > 0 {
		t.numbers.notCounted(i, r, records)
		t.explain.notCounted(i, r, records)
	}
}

// apply takes the counts of a batch to the store. It runs on a worker.
func (t *tally) apply(w *worker, b *extract.Batch) {
	w.at = 0
	for w.at < b.Len() {
		if !t.applyFrom(w, b) {
			return // past the deadline, what is not in the ledger is lost
		}
	}
	t.numbers.applied(int64(b.Len()), b.CutValues())
	b.Release()
}

// applyFrom applies the series of a batch from w.at on. That does not come to the end of the batch when the store, or
// anything else here, has panicked: then what is left of the series at fault has failed, and w.at is behind it.
func (t *tally) applyFrom(w *worker, b *extract.Batch) (goOn bool) {
	w.left = 0
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		metric := b.Series(w.at).Metric
		t.numbers.storeErrors.Add(1)
		t.panicLogged.Do(func() {
			t.logger.Error("A worker has recovered from a panic; the series at fault is not counted. Further panics are only counted.",
				zap.String("metric", t.metrics[metric].name), zap.String("panic", fmt.Sprintf("%T", p)), zap.Stack("stack"))
		})
		goOn = w.settle(metric, 0, w.left)
		w.at++
	}()
	if !w.mayGoOn() {
		return false
	}
	t.forgetting.RLock()
	defer t.forgetting.RUnlock()
	if t.binder != nil {
		return t.applyBound(w, b)
	}
	for ; w.at < b.Len(); w.at++ {
		series := b.Series(w.at)
		w.left = series.Records
		key, _ := t.resolve(w, b, w.at, series)
		if t.adder == nil {
			if !t.increment(w, series.Metric, key) {
				return false
			}
			continue
		}
		for amount := series.Amount; amount > 0; {
			n := min(amount, math.MaxInt)
			t.adder.Add(key, int(n))
			amount -= n
		}
		if !w.settle(series.Metric, w.left, 0) {
			return false
		}
		t.numbers.addAmount(series.Metric, series.Amount)
	}
	return true
}

// increment counts the records that are left of a series one by one.
func (t *tally) increment(w *worker, metric int, key string) (goOn bool) {
	for w.left > 0 {
		t.store.Inc(key)
		w.left--
		if !w.settle(metric, 1, 0) {
			return false
		}
	}
	return true
}

// applyBound is the rest of applyFrom for a store that has Counters.
func (t *tally) applyBound(w *worker, b *extract.Batch) (goOn bool) {
	now := t.binder.Now()
	w.resources = t.bindings.appendResources(w.resources[:0], b)
	w.bound.reset(w.at)
	for w.at < b.Len() {
		known, goOn := t.addKnown(w, b, now)
		if !goOn {
			return false
		}
		if known {
			continue
		}
		if !t.addUnknown(w, b, now) {
			return false
		}
		w.at++
	}
	return true
}

// seriesPerLock is how many series are added, and settled, at once: whoever waits for a worker's ledger, or to remember a
// Counter, waits for some microseconds.
const seriesPerLock = 64

// addKnown adds series whose Counters are known, until there is one that is not, or enough is done at once.
func (t *tally) addKnown(w *worker, b *extract.Batch, now time.Time) (known, goOn bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, false
	}
	t.bindings.mu.RLock()
	defer t.bindings.mu.RUnlock()
	if w.at >= w.bound.end() {
		w.bound.look(t.bindings, b, w.resources, w.at, min(w.at+seriesPerLock, b.Len()))
	}
	for ; w.at < w.bound.end(); w.at++ {
		series := b.Series(w.at)
		w.left = series.Records
		counter, ok := w.bound.counter(t.bindings, w.at)
		if !ok || !addTo(counter, series.Amount, now) {
			return false, true
		}
		w.counted[series.Metric] += series.Records
		t.numbers.addAmount(series.Metric, series.Amount)
	}
	return true, true
}

// addUnknown adds the series that w is at, whose Counter is not known or was dropped.
func (t *tally) addUnknown(w *worker, b *extract.Batch, now time.Time) (goOn bool) {
	series := b.Series(w.at)
	cutBefore := b.CutValues()
	key, own := t.resolve(w, b, w.at, series)
	if series.Amount > 0 {
		counter := t.binder.Bind(key)
		for !addTo(counter, series.Amount, now) {
			counter = t.binder.Bind(key)
		}
		// What was cut is counted when a key is made of it, so that has to be made each time.
		resource, attributes := b.Identity(w.at)
		if own && b.CutValues() == cutBefore && !b.ResourceWasCut(resource) {
			w.resources[resource] = t.bindings.put(series.Metric, b.Resource(resource), attributes, counter)
		}
	}
	if !w.settle(series.Metric, w.left, 0) {
		return false
	}
	t.numbers.addAmount(series.Metric, series.Amount)
	return true
}

// addTo adds an amount, which may be 0, to a Counter, and says whether the store still has that.
func addTo(counter Counter, amount int64, now time.Time) bool {
	for amount > math.MaxInt { // where an int has 32 bits
		if !counter.Add(math.MaxInt, now) {
			return false
		}
		amount -= math.MaxInt
	}
	return amount == 0 || counter.Add(int(amount), now)
}

// resolve returns the key under which series i of a batch is counted: its own, or an overflow key.
func (t *tally) resolve(w *worker, b *extract.Batch, i int, series extract.Series) (key string, own bool) {
	metric := series.Metric
	limiter := t.limiters[metric]
	fits := !series.TooLong
	if fits {
		w.key = b.AppendKey(w.key[:0], i)
		fits = t.keyLimit == 0 || len(w.key) <= t.keyLimit
	}
	if fits {
		if key, known := limiter.Lookup(w.key); known {
			return key, true
		}
	}
	w.overflow = b.AppendOverflowKey(w.overflow[:0], i)
	if t.keyLimit > 0 && len(w.overflow) > t.keyLimit {
		w.overflow = append(w.overflow[:0], limiter.LastKey()...)
	}
	var v cardinality.Verdict
	if fits {
		v = limiter.Admit(w.key, w.overflow)
	} else {
		v = limiter.Overflow(w.overflow)
	}
	if v.Overflowed {
		t.overflow(w, series, fits)
	}
	if v.New {
		t.numbers.keyLength(len(v.Key))
	}
	if v.New && t.totals != nil {
		if err := t.totals.add(metric, v.Key); err != nil {
			t.logger.Error("A key is counted and not published", zap.String("metric", t.metrics[metric].name), zap.Error(err))
		}
	}
	return v.Key, !v.Overflowed
}

// overflow notes that a series is counted under an overflow key instead of under w.key, if that fits.
func (t *tally) overflow(w *worker, series extract.Series, fits bool) {
	i := series.Metric
	t.numbers.overflowed(i, series.Records)
	name := t.metrics[i].name
	var worst func() []Overflow
	if t.overflows != nil {
		if fits && series.Amount > 0 {
			t.overflows.Overflowed(name, string(w.key), int(min(series.Amount, math.MaxInt)))
		}
		if t.logOverflows {
			worst = func() []Overflow { return t.overflows.Overflows(name, shownOverflows) }
		}
	}
	t.explain.overflowed(i, worst)
}
