// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/store"
)

var errNotLister = errors.New("store does not list its totals (store.Lister), so there is nothing to show")

// console is the extension.
type console struct {
	cfg      *Config
	settings extension.Settings

	// set by Start; Shutdown drops what leads to the store
	address     string // that it listens on
	instruments *instruments
	hub         *hub
	server      *http.Server
	cancel      context.CancelFunc // ends the sampler and the hub
	running     sync.WaitGroup
}

func newConsole(set extension.Settings, cfg *Config) *console {
	return &console{cfg: cfg, settings: set}
}

// Dependencies makes the Collector start the store, and what the server needs, before the console, and shut them down
// after it. The interface is extensioncapabilities.Dependent.
func (c *console) Dependencies() []component.ID {
	ids := []component.ID{c.cfg.Store}
	if auth := c.cfg.Server.Auth.Get(); auth != nil {
		ids = append(ids, auth.Config.AuthenticatorID)
	}
	for _, m := range c.cfg.Server.Middlewares {
		ids = append(ids, m.ID)
	}
	return ids
}

// Start listens, and begins to sample the store. What it starts ends in Shutdown, not with ctx.
func (c *console) Start(ctx context.Context, host component.Host) error {
	found, err := store.Find(host, c.cfg.Store)
	if err != nil {
		return fmt.Errorf("start tally_console: %w", err)
	}
	lister, ok := found.(store.Lister)
	if !ok {
		return fmt.Errorf("start tally_console: `store` is %q: %w", c.cfg.Store, errNotLister)
	}
	if err := c.start(ctx, host, found, lister); err != nil {
		return fmt.Errorf("start tally_console: %w", errors.Join(err, c.Shutdown(ctx)))
	}
	c.settings.Logger.Info("Console started", zap.String("address", c.address), zap.Stringer("store", c.cfg.Store))
	return nil
}

func (c *console) start(ctx context.Context, host component.Host, found store.MetricStore, lister store.Lister) (err error) {
	var n *instruments // a store that does not return in time makes the sampler use them after Shutdown
	s := newSampler(lister, c.cfg, c.settings.Logger, func(d time.Duration) { n.took(d) })
	a := newExecutor(c.cfg, s)
	c.hub = newHub(c.cfg, a)
	if n, err = newInstruments(c.settings, s, c.hub); err != nil {
		return err
	}
	c.instruments = n
	listener, err := c.cfg.Server.ToListener(ctx)
	if err != nil {
		return err
	}
	c.address = listener.Addr().String()
	handler := newHandler(c.cfg, a, c.hub, found, c.instruments)
	if c.server, err = c.cfg.Server.ToServer(ctx, host.GetExtensions(), c.settings.TelemetrySettings, handler); err != nil {
		return errors.Join(err, listener.Close())
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.running.Go(func() { s.run(background) })
	hub := c.hub
	c.running.Go(func() { hub.run(background) })
	server := c.server
	c.running.Go(func() { serve(server, listener, host) })
	return nil
}

func serve(server *http.Server, listener net.Listener, host component.Host) {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		componentstatus.ReportStatus(host, componentstatus.NewPermanentErrorEvent(fmt.Errorf("serve the console: %w", err)))
	}
}

// shutdownTimeout is how long Shutdown waits for clients and the store where the Collector gives no deadline. Until it
// returns, a Collector that reloads takes no logs.
const shutdownTimeout = time.Second

// Shutdown ends the live streams, and lets the requests that are being answered end, within the deadline of ctx or of
// shutdownTimeout. Then it ends the connections of clients that are slow. That is no error: nothing is lost, and a
// Collector that reloads would exit.
func (c *console) Shutdown(ctx context.Context) error {
	var err error
	if c.cancel != nil {
		ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
		defer cancel()
		c.cancel()
		c.hub.close()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.running.Wait()
		}()
		err = c.endRequests(ctx)
		c.await(ctx, ended)
		c.cancel = nil
	}
	if c.instruments != nil {
		c.instruments.builder.Shutdown()
	}
	c.instruments, c.hub, c.server = nil, nil, nil
	return err
}

// endRequests waits for the requests that are being answered, and ends those that are left when ctx ends.
func (c *console) endRequests(ctx context.Context) error {
	late := c.server.Shutdown(ctx)
	if late == nil {
		return nil
	}
	c.settings.Logger.Info("Clients were still reading. Their connections are closed", zap.Error(late))
	return c.server.Close()
}

// await waits for the goroutines until ctx ends. One that a store does not let go is left behind.
func (c *console) await(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended: // while requests were waited for
	default:
		c.settings.Logger.Warn("The store has not returned from a call. The console no longer waits for it", zap.Error(context.Cause(ctx)))
	}
}
