package tallyconsole

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

var errPanic = errors.New("the store has panicked")

// sample is what everybody reads: the newest snapshot, and how it came about. It does not change.
type sample struct {
	*table.Snapshot
	descriptions map[string]store.Description
	duration     time.Duration // that it took; 0 for the one before the first
	err          error         // why the last attempt has not listed everything; nil = it has
	failingSince time.Time     // zero = it is not
	stale        bool          // the last attempt has listed nothing: this is the snapshot before
}

// names returns the names of all metrics, in order.
func (s *sample) names() []string {
	all := map[string]bool{}
	for name := range s.Metrics {
		all[name] = true
	}
	for name := range s.descriptions {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// metric returns a metric, which has no key if nothing of it was counted yet; ok is false for one that nobody knows.
func (s *sample) metric(name string) (m *table.Metric, ok bool) {
	if m, ok = s.Metrics[name]; ok {
		return m, true
	}
	_, ok = s.descriptions[name]
	return &table.Metric{Name: name}, ok
}

// sampler lists the store from time to time. Only its own goroutine changes it.
type sampler struct {
	store   store.Lister
	cfg     *Config
	logger  *zap.Logger
	builder *table.Builder
	began   time.Time
	newest  atomic.Pointer[sample]
	errors  atomic.Int64
	took    func(time.Duration) // records how long a sample has taken
}

func newSampler(store store.Lister, cfg *Config, logger *zap.Logger, took func(time.Duration)) *sampler {
	s := &sampler{store: store, cfg: cfg, logger: logger, builder: table.NewBuilder(cfg.MaxTrackedKeys), began: time.Now(), took: took}
	s.newest.Store(&sample{Snapshot: &table.Snapshot{Taken: time.Now()}})
	return s
}

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	for ctx.Err() == nil {
		timer := time.NewTimer(s.pause(s.once(ctx)))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// pause returns how long to wait after a sample that has taken d.
func (s *sampler) pause(d time.Duration) time.Duration {
	return max(s.cfg.SampleInterval-d, time.Duration(float64(d)/s.cfg.sampleLoad)-d)
}

// once takes one sample and publishes it.
func (s *sampler) once(ctx context.Context) (took time.Duration) {
	before := s.newest.Load()
	start := time.Now()
	next, listed, err := s.take(ctx)
	took = time.Since(start)
	if ctx.Err() != nil {
		return took // the console is shutting down
	}
	s.took(took)
	now := &sample{Snapshot: next, duration: took, err: err, descriptions: s.descriptions(before)}
	if err != nil {
		s.errors.Add(1)
		if now.failingSince = before.failingSince; before.failingSince.IsZero() {
			now.failingSince = start
			s.logger.Warn("The store does not list all totals; the console shows what it had before", zap.Error(err))
		}
		if listed == 0 {
			now.Snapshot, now.stale = before.Snapshot, true
		}
	} else if before.err != nil {
		s.logger.Info("The store lists all totals again", zap.Duration("after", start.Sub(before.failingSince)))
	}
	s.newest.Store(now)
	return took
}

// take lists the store.
func (s *sampler) take(ctx context.Context) (next *table.Snapshot, listed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SampleTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			s.logger.Error("The store has panicked", zap.String("panic", fmt.Sprintf("%T", r)), zap.ByteString("stack", debug.Stack()))
			s.builder = table.NewBuilder(s.cfg.MaxTrackedKeys) // the one before may have stopped half way
			next, listed, err = nil, 0, errPanic
		}
	}()
	uncounted := s.onlyKeys()
	s.builder.Begin()
	for total, listErr := range s.store.Totals(ctx) {
		if listErr != nil {
			err = listErr
			break
		}
		listed++
		delete(uncounted, total.Key)
		s.builder.Add(total.Key, total.Value, total.Start, total.Last)
	}
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("list totals: %w", ctx.Err())
	}
	if err == nil {
		for key := range uncounted {
			s.builder.Add(key, 0, s.began, s.began)
		}
	}
	return s.builder.End(time.Now(), err == nil), listed, err
}

// onlyKeys returns the keys of metrics that can have but one, which are shown before anything is counted under them.
func (s *sampler) onlyKeys() map[string]bool {
	keys := map[string]bool{}
	for _, d := range s.newest.Load().descriptions {
		if d.Key != "" {
			keys[d.Key] = true
		}
	}
	return keys
}

// descriptions asks the store what its metrics are.
func (s *sampler) descriptions(before *sample) (all map[string]store.Description) {
	describer, ok := s.store.(store.Describer)
	if !ok {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			all = before.descriptions // take has said so
		}
	}()
	all = map[string]store.Description{}
	for _, d := range describer.Descriptions() {
		all[d.Metric] = d
	}
	return all
}

// errorText says what has gone wrong without what may be log content: keys are quoted, so whatever is between quotes is left
// out, and so is all behind a bracket that begins one.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), `["`)
	parts := strings.Split(text, `"`)
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "..."
	}
	const longest = 300
	if text = strings.Join(parts, `"`); len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}
