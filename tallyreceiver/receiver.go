// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/background"
	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/sampledlog"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

// metricsReceiver reads a store every `collection_interval`, and a last time at Shutdown. It has a loop of its own,
// since the scraper controller takes all metrics of a collection at once, which for a million series are gigabytes.
type metricsReceiver struct {
	cfg      *Config
	settings receiver.Settings
	sampled  *zap.Logger // passes each message once a minute
	next     consumer.Metrics
	told     *receiverhelper.ObsReport // the receiver's own telemetry

	// Set by Start.
	reader *emit.Reader     // the loop's
	loop   *background.Loop // nil = it was not started
}

func newMetricsReceiver(set receiver.Settings, cfg *Config, next consumer.Metrics) (*metricsReceiver, error) {
	told, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, ReceiverCreateSettings: set})
	if err != nil {
		return nil, err
	}
	r := &metricsReceiver{cfg: cfg, settings: set, sampled: sampledlog.New(set.Logger), told: told}
	r.next, err = consumer.NewMetrics(func(ctx context.Context, metrics pmetric.Metrics) error {
		points := metrics.DataPointCount() // before the next consumer may change it
		ctx = told.StartMetricsOp(ctx)
		err := next.ConsumeMetrics(ctx, metrics)
		told.EndMetricsOp(ctx, "", points, err)
		return err
	})
	return r, err
}

// Start finds the store and starts reading it.
func (r *metricsReceiver) Start(ctx context.Context, host component.Host) error {
	store, err := store.Find(host, *r.cfg.Store)
	if err != nil {
		return fmt.Errorf("start tally: %w", err)
	}
	reader, err := emit.NewReader(store, emit.Settings{
		Scope:   metadata.ScopeName,
		Version: r.settings.BuildInfo.Version,
		ID:      r.settings.ID.String(),
		Delta:   r.cfg.Temporality == emit.Delta,

		StaleAfter: r.cfg.StaleAfter,
	})
	if err != nil {
		return fmt.Errorf("start tally: `store` is %q: %w", r.cfg.Store, err)
	}
	r.reader = reader
	r.loop = background.New(background.Settings{
		Name: "send totals", Delay: r.cfg.InitialDelay, Interval: r.cfg.CollectionInterval, Run: r.emit, Last: r.emitLast, Failed: r.failed,
	})
	r.loop.Start(ctx)
	return nil
}

// emit reads the store once and sends what it has, within `timeout`. What could not be read or sent is in a later
// emission.
func (r *metricsReceiver) emit(ctx context.Context) error {
	if r.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.cfg.Timeout)
		defer cancel()
	}
	collection, err := r.reader.Collect(ctx)
	if err != nil {
		r.sampled.Warn("Some totals could not be read", zap.Error(err))
	}
	return collection.Send(ctx, r.next)
}

func (r *metricsReceiver) failed(err error) {
	r.settings.Logger.Warn("Totals could not be sent; the next collection carries them", zap.Error(err))
}

// emitLast emits for the last time, and leaves what the reader knows to the next one, unless nobody waits any more: the
// pipeline may be gone then.
func (r *metricsReceiver) emitLast(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	collection, err := r.reader.Collect(ctx)
	err = errors.Join(err, collection.Send(ctx, r.next))
	r.reader.Close()
	return err
}

// shutdownTimeout is how long Shutdown waits for the metrics pipeline where the Collector gives no deadline.
const shutdownTimeout = 5 * time.Second

// Shutdown ends the reading and emits a last time, within the deadline of ctx or of shutdownTimeout. Counts that a logs
// pipeline adds later, while it drains, are in the store and in the next emission of whoever reads it.
func (r *metricsReceiver) Shutdown(ctx context.Context) error {
	if r.loop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	return r.loop.Stop(ctx)
}
