// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

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

var (
	errPanic   = errors.New("the store has panicked")
	errOverdue = errors.New("the store has not returned from a call for longer than `sample_timeout`")
)

const (
	overdue    = time.Second      // by how much later than its deadline a store may return
	retryAfter = 10 * time.Second // longest wait after a listing that has failed, unless `sample_interval` is longer
)

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

// pause returns how long to wait after a sample that has taken d. A listing that failed has waited more than worked, so
// what it took says little about its load.
func (s *sampler) pause(d time.Duration, err error) time.Duration {
	rest := time.Duration(float64(d)/s.cfg.sampleLoad) - d
	if err != nil {
		rest = min(rest, retryAfter)
	}
	return max(s.cfg.SampleInterval-d, rest)
}

// once takes one sample and publishes it.
func (s *sampler) once(ctx context.Context) (took time.Duration, err error) {
	start := time.Now()
	watchdog := time.AfterFunc(s.cfg.SampleTimeout+overdue, func() { s.overdue(ctx, start) })
	// first: the store may take long for them, and the totals are of the moment that they say
	descriptions := s.descriptions()
	listing := time.Now()
	next, listed, err := s.take(ctx, onlyKeys(descriptions))
	watchdog.Stop()
	took = time.Since(listing)
	if ctx.Err() != nil {
		return took, err // the console is shutting down
	}
	s.took(took)
	now := &sample{Snapshot: next, duration: took, err: err, descriptions: descriptions}
	before := s.newest.Load()
	s.note(now, before, start)
	if err != nil && listed == 0 {
		now.Snapshot, now.stale = before.Snapshot, true
	}
	s.newest.Store(now)
	return took, err
}

// overdue publishes that a sample, begun at start, does not end.
func (s *sampler) overdue(ctx context.Context, start time.Time) {
	before := s.newest.Load()
	now := *before
	now.err, now.stale = errOverdue, true
	if ctx.Err() == nil {
		s.note(&now, before, start)
		s.newest.CompareAndSwap(before, &now) // unless the sample has ended meanwhile
	}
}

// note counts and logs what has become of the store since the sample before.
func (s *sampler) note(now, before *sample, start time.Time) {
	switch {
	case now.err != nil:
		s.errors.Add(1)
		if now.failingSince = before.failingSince; before.failingSince.IsZero() {
			now.failingSince = start
			s.logger.Warn("The store does not list all totals. The console shows the last snapshot", zap.Error(now.err))
		}
	case before.err != nil:
		s.logger.Info("The store lists all totals again", zap.Duration("after", start.Sub(before.failingSince)))
	}
}

// take lists the store. Keys of uncounted that are not in it are shown at 0.
func (s *sampler) take(ctx context.Context, uncounted map[string]bool) (next *table.Snapshot, listed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SampleTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			s.logger.Error("The store has panicked", zap.String("panic", fmt.Sprintf("%T", r)), zap.ByteString("stack", debug.Stack()))
			s.builder = table.NewBuilder(s.cfg.MaxTrackedKeys) // the one before may have stopped half way
			next, listed, err = nil, 0, errPanic
		}
	}()
	s.builder.Begin()
	if listed, err = s.list(ctx, uncounted); err == nil {
		for key := range uncounted {
			s.builder.Add(key, 0, s.began, s.began)
		}
	}
	return s.builder.End(time.Now(), err == nil), listed, err
}

// checkEvery is after how many totals the deadline is looked at: a store may ignore it.
const checkEvery = 1024

// list adds what the store has, and takes its keys out of uncounted.
func (s *sampler) list(ctx context.Context, uncounted map[string]bool) (listed int, err error) {
	for total, err := range s.store.Totals(ctx) {
		if err != nil {
			return listed, err
		}
		delete(uncounted, total.Key)
		s.builder.Add(total.Key, total.Value, total.Start, total.Last)
		if listed++; listed%checkEvery == 0 && ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return listed, fmt.Errorf("list totals: %w", ctx.Err())
	}
	return listed, nil
}

// onlyKeys returns the keys of metrics that can have but one, which are shown before anything is counted under them.
func onlyKeys(descriptions map[string]store.Description) map[string]bool {
	keys := map[string]bool{}
	for _, d := range descriptions {
		if d.Key != "" {
			keys[d.Key] = true
		}
	}
	return keys
}

// descriptions asks the store what its metrics are.
func (s *sampler) descriptions() (all map[string]store.Description) {
	describer, ok := s.store.(store.Describer)
	if !ok {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			all = s.newest.Load().descriptions // take says so if its calls panic as well
		}
	}()
	all = map[string]store.Description{}
	for _, d := range describer.Descriptions() {
		all[d.Metric] = d
	}
	return all
}

// errorText says what has gone wrong without what may be log content: keys are quoted, so whatever is between quotes is
// left out, and so is all behind a bracket that begins one.
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
