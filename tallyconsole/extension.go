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

	"github.com/logtally/tallyprocessor"
)

var errNotLister = errors.New("store does not list its totals (tallyprocessor.Lister), so there is nothing to show")

// console is the extension.
type console struct {
	cfg      *Config
	settings extension.Settings

	// set by Start
	address string // that it listens on
	numbers *numbers
	hub     *hub
	server  *http.Server
	cancel  context.CancelFunc // ends the sampler and the hub
	running sync.WaitGroup
}

func newConsole(set extension.Settings, cfg *Config) *console {
	return &console{cfg: cfg, settings: set}
}

// Dependencies makes the Collector start the store, and what the server needs, before the console, and shut them down after it.
// The interface is extensioncapabilities.Dependent.
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
	store, err := tallyprocessor.FindStore(host, c.cfg.Store)
	if err != nil {
		return fmt.Errorf("start tally_console: %w", err)
	}
	lister, ok := store.(tallyprocessor.Lister)
	if !ok {
		return fmt.Errorf("start tally_console: `store` is %q: %w", c.cfg.Store, errNotLister)
	}
	if err := c.start(ctx, host, lister); err != nil {
		return fmt.Errorf("start tally_console: %w", errors.Join(err, c.Shutdown(ctx)))
	}
	c.settings.Logger.Info("The console is there", zap.String("address", c.address), zap.Stringer("store", c.cfg.Store))
	return nil
}

func (c *console) start(ctx context.Context, host component.Host, store tallyprocessor.Lister) (err error) {
	s := newSampler(store, c.cfg, c.settings.Logger, func(d time.Duration) { c.numbers.took(d) })
	a := newAnswerer(c.cfg, s)
	c.hub = newHub(c.cfg, a)
	if c.numbers, err = newNumbers(c.settings, s, c.hub); err != nil {
		return err
	}
	listener, err := c.cfg.Server.ToListener(ctx)
	if err != nil {
		return err
	}
	c.address = listener.Addr().String()
	handler := newHandler(c.cfg, a, c.hub, store, c.numbers)
	if c.server, err = c.cfg.Server.ToServer(ctx, host.GetExtensions(), c.settings.TelemetrySettings, handler); err != nil {
		return errors.Join(err, listener.Close())
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.running.Go(func() { s.run(background) })
	c.running.Go(func() { c.hub.run(background) })
	c.running.Go(func() { c.serve(listener, host) })
	return nil
}

func (c *console) serve(listener net.Listener, host component.Host) {
	if err := c.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		componentstatus.ReportStatus(host, componentstatus.NewPermanentErrorEvent(fmt.Errorf("serve the console: %w", err)))
	}
}

// Shutdown ends the live streams, lets the requests that are being answered end, and stops.
func (c *console) Shutdown(ctx context.Context) error {
	var err error
	if c.cancel != nil {
		c.cancel()
		c.hub.close()
		err = c.server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, c.server.Close())
		}
		c.running.Wait()
		c.cancel = nil
	}
	if c.numbers != nil {
		c.numbers.builder.Shutdown()
		c.numbers = nil
	}
	return err
}
