// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/background"
	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconnector/internal/metadata"
)

// logsConnector is the processor `tally` with nothing behind it, and a loop that emits what it counts.
type logsConnector struct {
	processor.Logs

	cfg      *Config
	settings connector.Settings
	store    *tallyprocessor.MemoryStore // the private one; nil when the configuration names another
	next     consumer.Metrics

	reader *emit.Reader     // set by Start; the loop's
	loop   *background.Loop // set by Start; nil = it was not started
	once   sync.Once        // of Shutdown

	stopForgetting func() // set by Start
}

var _ connector.Logs = (*logsConnector)(nil)

func newLogsConnector(
	ctx context.Context, set connector.Settings, cfg *Config, next consumer.Metrics,
) (*logsConnector, error) {
	c := &logsConnector{cfg: cfg, settings: set, next: next}
	options := []tallyprocessor.Option{tallyprocessor.WithKind(component.KindConnector)}
	if cfg.Tally.Store == nil {
		c.store = tallyprocessor.NewMemoryStore(tallyprocessor.WithForgetAfter(cfg.Tally.ForgetAfter))
		options = append(options, tallyprocessor.WithMetricStore(c.store))
	}
	accept, err := consumer.NewLogs(func(context.Context, plog.Logs) error { return nil })
	if err != nil {
		return nil, err
	}
	c.Logs, err = tallyprocessor.NewFactory(options...).CreateLogs(ctx, processor.Settings{
		ID: set.ID, TelemetrySettings: set.TelemetrySettings, BuildInfo: set.BuildInfo,
	}, cfg.Tally.config(), accept)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Start starts counting, and emitting every `flush_interval`.
func (c *logsConnector) Start(ctx context.Context, host component.Host) error {
	var in store.MetricStore = c.store
	if c.cfg.Tally.Store != nil {
		var err error
		if in, err = store.Find(host, *c.cfg.Tally.Store); err != nil {
			return fmt.Errorf("start tally: %w", err)
		}
	}
	reader, err := emit.NewReader(in, emit.Settings{
		Scope:   metadata.ScopeName,
		Version: c.settings.BuildInfo.Version,
		ID:      c.settings.ID.String(),
		Delta:   c.cfg.Temporality == emit.Delta,
		Metrics: c.cfg.Tally.config().MetricNames(),

		StaleAfter: c.cfg.StaleAfter,
	})
	if err != nil {
		return fmt.Errorf("start tally: %w", err)
	}
	if err := c.Logs.Start(ctx, host); err != nil {
		return err
	}
	c.reader = reader
	c.loop = background.New(background.Settings{
		Name: "send totals", Delay: c.cfg.FlushInterval, Interval: c.cfg.FlushInterval, Run: c.emit, Last: c.emitLast, Failed: c.failed,
	})
	c.loop.Start(ctx)
	c.stopForgetting = c.keepForgetting(context.WithoutCancel(ctx))
	return nil
}

func (c *logsConnector) emit(ctx context.Context) error {
	collection, err := c.reader.Collect(ctx)
	return errors.Join(err, collection.Send(ctx, c.next))
}

func (c *logsConnector) failed(err error) {
	c.settings.Logger.Warn("Totals could not be sent; the next emission carries them", zap.Error(err))
}

// emitLast emits for the last time, unless nobody waits any more: the pipeline may be gone then.
func (c *logsConnector) emitLast(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer c.reader.Close()
	return c.emit(ctx)
}

// keepForgetting has the private store, if there is one, drop idle keys until stop is called, which waits for it.
func (c *logsConnector) keepForgetting(ctx context.Context) (stop func()) {
	if c.store == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { c.store.KeepForgetting(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// Shutdown counts what is queued and then emits a last time, all within the deadline of ctx and `shutdown_timeout`; the
// metrics pipeline still runs, since the Collector shuts down what is upstream first. It returns what could not be
// counted or sent.
func (c *logsConnector) Shutdown(ctx context.Context) (err error) {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Tally.ShutdownTimeout)
		defer cancel()
		err = c.Logs.Shutdown(ctx)
		if c.loop == nil {
			return // it was not started
		}
		c.stopForgetting()
		err = errors.Join(err, c.loop.Stop(ctx))
	})
	return err
}
