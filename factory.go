// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
)

// Option changes what NewFactory returns.
type Option func(*registry)

// WithMetricStore makes every processor of the factory count in store, whose keys then say which metric counted but
// not which processor. Its totals are not published on the Collector's own telemetry: they are the caller's to read.
// The caller keeps ownership; the processors flush it, if it is a Flusher, and never close it.
func WithMetricStore(store MetricStore) Option {
	return func(r *registry) { r.store = store }
}

// WithKind makes the processors of the factory tell their own metrics as a component of another kind does, which has
// them in it: with the label `connector`, say, in place of `processor`.
func WithKind(kind component.Kind) Option {
	return func(r *registry) { r.label = strings.ToLower(kind.String()) }
}

// NewFactory returns the factory of the processor `tally`. Without an option each component id counts in a MemoryStore
// of its own and publishes its totals on the Collector's own telemetry.
func NewFactory(options ...Option) processor.Factory {
	r := &registry{label: selfmetrics.ProcessorLabel, leases: map[*Config]*lease{}, ended: map[component.ID]*selfmetrics.Exhibit{}}
	for _, option := range options {
		option(r)
	}
	return processor.NewFactory(
		metadata.Type,
		createDefaultConfig,
		processor.WithLogs(r.createLogs, metadata.LogsStability),
	)
}

// registry knows the engines that run, so that the processors of one component id share one. It belongs to one
// factory; the Collector gives all processors of one id the same Config.
type registry struct {
	store MetricStore // nil = a private one for each engine
	label string      // of the component id on the telemetry

	// mu guards the fields below.
	mu     sync.Mutex
	leases map[*Config]*lease
	ended  map[component.ID]*selfmetrics.Exhibit // what those show that were shut down last
}

// lease is a running engine and the number of processors that use it.
type lease struct {
	id     component.ID
	engine *engine
	users  int
}

func (r *registry) createLogs(
	_ context.Context, set processor.Settings, cfg component.Config, next consumer.Logs,
) (processor.Logs, error) {
	return newLogsProcessor(r, set, cfg.(*Config), next)
}

// acquire returns the engine that runs for cfg, or the one that start starts; that takes the place of an earlier one of
// the same id on the telemetry.
func (r *registry) acquire(id component.ID, cfg *Config, start func() (*engine, error)) (*engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.leases[cfg]
	if !ok {
		if old := r.ended[id]; old != nil {
			delete(r.ended, id)
			if err := old.Withdraw(); err != nil {
				return nil, err
			}
		}
		e, err := start()
		if err != nil {
			return nil, err
		}
		l = &lease{id: id, engine: e}
		r.leases[cfg] = l
	}
	l.users++
	return l.engine, nil
}

// release gives an engine back. With its last user it shuts down.
func (r *registry) release(ctx context.Context, cfg *Config) error {
	if e := r.drop(cfg); e != nil {
		return e.shutdown(ctx)
	}
	return nil
}

// drop returns the engine whose last user has left, nil as long as there are others.
func (r *registry) drop(cfg *Config) *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[cfg]
	if l.users--; l.users > 0 {
		return nil
	}
	delete(r.leases, cfg)
	r.ended[l.id] = l.engine.exhibit
	return l.engine
}
