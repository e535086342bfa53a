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
	"go.opentelemetry.io/collector/scraper"
	"go.opentelemetry.io/collector/scraper/scraperhelper"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/emission"
	"github.com/logtally/tallyprocessor/internal/sampledlog"
	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

// metricsReceiver reads a store when the scraper controller says so, and a last time at Shutdown.
type metricsReceiver struct {
	receiver.Metrics // the scraper controller

	cfg      *Config
	settings receiver.Settings
	sampled  *zap.Logger // passes each message once a minute
	next     consumer.Metrics

	running bool
	reader  *emission.Reader // set by Start, which makes the controller use it

	// cancelSend ends the emission in progress; set by Start.
	sending    context.Context //nolint:containedctx // the controller's contexts do not end with Shutdown
	cancelSend context.CancelFunc

	// collection is what the controller has scraped and not sent yet. Only its goroutine touches it.
	collection *emission.Collection
}

func newMetricsReceiver(set receiver.Settings, cfg *Config, next consumer.Metrics) (*metricsReceiver, error) {
	r := &metricsReceiver{cfg: cfg, settings: set, sampled: sampledlog.New(set.Logger), next: next}
	factory := scraper.NewFactory(metadata.Type, nil, scraper.WithMetrics(
		func(context.Context, scraper.Settings, component.Config) (scraper.Metrics, error) {
			return scraper.NewMetrics(r.scrape)
		}, metadata.MetricsStability))
	send, err := consumer.NewMetrics(r.send)
	if err != nil {
		return nil, err
	}
	r.Metrics, err = scraperhelper.NewMetricsController(
		&cfg.ControllerConfig, set, send, scraperhelper.AddFactoryWithConfig(factory, nil),
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Start finds the store and starts reading it.
func (r *metricsReceiver) Start(ctx context.Context, host component.Host) error {
	store, err := tallyprocessor.FindStore(host, *r.cfg.Store)
	if err != nil {
		return fmt.Errorf("start tally: %w", err)
	}
	reader, err := emission.NewReader(store, emission.Settings{
		Scope:   metadata.ScopeName,
		Version: r.settings.BuildInfo.Version,
		ID:      r.settings.ID.String(),
		Delta:   r.cfg.Temporality == emission.Delta,

		StaleAfter: r.cfg.StaleAfter,
	})
	if err != nil {
		return fmt.Errorf("start tally: `store` is %q: %w", r.cfg.Store, err)
	}
	r.reader, r.running = reader, true
	r.sending, r.cancelSend = context.WithCancel(context.WithoutCancel(ctx))
	return r.Metrics.Start(ctx, host)
}

// scrape collects; what it could not read it logs, since the controller passes on nothing but errors that spoil all.
func (r *metricsReceiver) scrape(ctx context.Context) (pmetric.Metrics, error) {
	collection, err := r.reader.Collect(ctx)
	if err != nil {
		r.sampled.Warn("Some totals could not be read", zap.Error(err))
	}
	r.collection = collection
	return collection.Metrics, nil
}

// send takes the place of the next consumer: the controller forgets what that answers, and the collection must know. It
// sends what the controller has just scraped, payload by payload.
func (r *metricsReceiver) send(ctx context.Context, metrics pmetric.Metrics) error {
	collection := r.collection
	r.collection = nil
	collection.Metrics = metrics // the controller has moved them
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.sending, cancel)()
	err := collection.Send(ctx, r.next)
	if err != nil {
		r.settings.Logger.Warn("Totals could not be sent; the next collection carries them", zap.Error(err))
	}
	return err
}

// shutdownTimeout is how long Shutdown waits for the metrics pipeline where the Collector gives no deadline.
const shutdownTimeout = 5 * time.Second

// Shutdown ends the reading and emits a last time, within the deadline of ctx or of shutdownTimeout. Counts that a logs pipeline adds
// later, while it drains, are in the store and in the next emission of whoever reads it.
func (r *metricsReceiver) Shutdown(ctx context.Context) error {
	if !r.running {
		return nil // it was not started, or is shut down: the controller would not stand that
	}
	r.running = false
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	defer r.cancelSend()
	return emission.Within(ctx, func(ctx context.Context) error {
		err := r.Metrics.Shutdown(ctx)
		if ctx.Err() != nil {
			return err // nobody waits any more, and the pipeline may be gone
		}
		collection, readErr := r.reader.Collect(ctx)
		err = errors.Join(err, readErr, collection.Send(ctx, r.next))
		r.reader.Close()
		return err
	})
}
