// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/apply"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/commit"
	"github.com/logtally/tallyprocessor/internal/deadline"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/ledger"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/recovered"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
	"github.com/logtally/tallyprocessor/store"
)

var (
	errNoAnswer         = errors.New("the store does not answer")
	errLost             = errors.New("shut down before all records were counted")
	errForgetsOtherwise = errors.New("the injected store does not drop idle series after that time: create it with `WithForgetAfter`, or remove the option")
	errNeedsAdder       = errors.New("store cannot add more than 1 at once, which a metric with a `sum` needs: it does not implement Adder")
)

// engine is what counts for one component id, in however many pipelines: a store, what takes counts to it, a queue with
// its workers, and what tells of all that.
type engine struct {
	metrics   []store.Description
	counts    *selfmetrics.Counts
	log       *selfmetrics.Log
	applier   *apply.Applier
	book      *ledger.Book
	pool      *pool[*extract.Batch]
	committer *commit.Committer // nil without `durable`
	exhibit   *selfmetrics.Exhibit
	// nil unless the store buffers and was injected: an extension flushes its own when all have counted
	flusher store.Flusher
}

// startEngine returns a running engine; its workers do not end with ctx but with shutdown. A nil store makes it count
// in one of its own, in memory, and publish the totals.
func startEngine(
	ctx context.Context, set processor.Settings, label string, cfg *Config, in store.MetricStore, x *extract.Extractor,
) (*engine, error) {
	metrics := cfg.metrics()
	e := &engine{metrics: cfg.describe(x), exhibit: &selfmetrics.Exhibit{}, counts: selfmetrics.NewCounts(len(metrics))}
	e.log = selfmetrics.NewLog(set.Logger, cfg.ErrorMode == ottl.SilentError, cfg.MetricNames(), x,
		func(i int, name string) string { return metrics[i].attributePath(name) })
	e.log.WarnOfFields(cfg.attributesCalledLikeFields())
	beside := func(context.Context) {}
	if in == nil {
		e.log.WarnOfNoTelemetry(ctx, set.MeterProvider)
		own := memory.New(memory.WithForgetAfter(cfg.ForgetAfter))
		e.exhibit.Totals = selfmetrics.NewTotals(set.MeterProvider, set.ID.String(), e.metrics, own, e.log.Unpublished)
		in, beside = own, own.KeepForgetting
	}
	if err := e.meet(ctx, cfg, set.Logger, in, x); err != nil {
		return nil, err
	}
	if err := e.show(set, label); err != nil {
		e.applier.Close()
		return nil, errors.Join(err, e.exhibit.Withdraw())
	}
	e.pool.start(context.WithoutCancel(ctx), beside)
	if e.committer != nil {
		e.committer.Start(ctx)
	}
	return e, nil
}

// startTimeout is how long Start waits for the store where the Collector gives no deadline.
const startTimeout = 30 * time.Second

// meet makes the parts that count in a store, and tells the store of them. It keeps the deadline of ctx, or
// startTimeout: a store that answers later is let go of then. A panic of the store is an error.
func (e *engine) meet(ctx context.Context, cfg *Config, logger *zap.Logger, in store.MetricStore, x *extract.Extractor) error {
	ctx, cancel := deadline.Or(ctx, startTimeout)
	defer cancel()
	met := make(chan error, 1)
	go func() {
		met <- recovered.Call(func() error {
			if err := e.build(cfg, logger, in, x); err != nil {
				return err
			}
			return e.applier.Introduce(ctx)
		})
	}()
	select {
	case err := <-met:
		return err
	case <-ctx.Done():
		go func() {
			if <-met == nil {
				e.applier.Close()
			}
		}()
		return fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
	}
}

// build makes the parts that count in a store.
func (e *engine) build(cfg *Config, logger *zap.Logger, in store.MetricStore, x *extract.Extractor) error {
	if cfg.ForgetAfter > 0 && capability.InfoOf(in).ForgetAfter != cfg.ForgetAfter {
		return fmt.Errorf("`forget_after` is %v: %w", cfg.ForgetAfter, errForgetsOtherwise)
	}
	e.applier = apply.New(apply.Settings{
		Logger: logger, Store: in, Metrics: e.metrics, Extractor: x, KeyLengthLimit: cfg.KeyLengthLimit,
		Observer: selfmetrics.NewObserver(e.log, e.exhibit.Totals, in, cfg.LogOverflowedKeys),
	})
	for _, m := range cfg.metrics() {
		if m.Sum != "" && !e.applier.CanAdd() {
			return fmt.Errorf("`logs::%s::sum` is %q: %w", m.name, m.Sum, errNeedsAdder)
		}
	}
	e.book = ledger.New(cfg.Queue.NumConsumers, len(e.metrics))
	var workers []func(*extract.Batch)
	for _, l := range e.book.Ledgers() {
		workers = append(workers, e.applier.Worker(l))
	}
	e.pool = newPool(cfg.Queue, e.book, workers, e.applier.MayBlock())
	if cfg.Store == nil {
		e.flusher, _ = in.(store.Flusher)
	}
	var err error
	if cfg.Durable {
		e.committer, err = commit.New(in, e.applier.StoreFailed)
	}
	return err
}

// show registers what the Collector's telemetry reads.
func (e *engine) show(set processor.Settings, label string) (err error) {
	names := make([]string, len(e.metrics))
	for i, m := range e.metrics {
		names[i] = m.Metric
	}
	e.exhibit.Instruments, err = selfmetrics.NewInstruments(set.TelemetrySettings, label, set.ID.String(), names, selfmetrics.Parts{
		Counts: e.counts, Book: e.book, Applied: e.applier, QueueSize: e.pool.size, QueueCapacity: e.pool.capacity(),
	})
	if err == nil && e.exhibit.Totals != nil {
		err = e.exhibit.Totals.ShowKnown()
	}
	return err
}

// shutdown applies what is queued, flushes a store that was injected, and returns what could not be done before ctx
// ended. What the telemetry shows stays as it is then, since the Collector pushes it a last time later: see Exhibit.
func (e *engine) shutdown(ctx context.Context) error {
	e.pool.shutdown(ctx)
	if e.committer != nil {
		e.committer.Stop(ctx)
	}
	// Waits while the store tells of keys that it has dropped.
	_ = deadline.Within(ctx, func(context.Context) error { e.applier.Close(); return nil })
	var errs []error
	for i, m := range e.metrics {
		if lost := e.book.Read(i).Pending; lost > 0 {
			errs = append(errs, fmt.Errorf("%w: %d records of metric %q", errLost, lost, m.Metric))
		}
	}
	if e.flusher != nil {
		if err := deadline.Within(ctx, e.flusher.Flush); err != nil {
			errs = append(errs, fmt.Errorf("flush the store: %w", err))
		}
	}
	if err := e.exhibit.Freeze(ctx); err != nil {
		errs = append(errs, fmt.Errorf("publish the last series: %w", err))
	}
	return errors.Join(errs...)
}
