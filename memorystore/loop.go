package memorystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

var errStopped = errors.New("store is shut down")

// loop is the one goroutine that uses a saver: every interval, on demand, and for the last time.
type loop struct {
	saver    *saver
	interval time.Duration
	health   *health
	requests chan chan error // each reply has room for one
	cancel   context.CancelFunc

	done     chan struct{}
	closeErr error // of the client; set before done is closed
}

// startLoop starts the goroutine, which goes on until stop, not until ctx ends.
func startLoop(ctx context.Context, v *saver, interval time.Duration, h *health) *loop {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &loop{
		saver: v, interval: interval, health: h,
		requests: make(chan chan error), cancel: cancel, done: make(chan struct{}),
	}
	go l.run(ctx)
	return l
}

func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			l.closeErr = l.saver.close(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
			_ = l.flush(ctx) // health has reported it
		case reply := <-l.requests:
			reply <- l.flush(ctx)
		}
	}
}

func (l *loop) flush(ctx context.Context) error {
	wrote, err := l.saver.flush(ctx)
	if wrote {
		l.health.note(err)
	}
	return err
}

// flushNow has the goroutine flush and waits for it until ctx ends.
func (l *loop) flushNow(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case l.requests <- reply:
	case <-l.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("wait for the storage: %w", context.Cause(ctx))
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the storage: %w", context.Cause(ctx))
	}
}

// stop flushes for the last time, closes the client and waits for both until ctx ends. A storage call that outlasts
// ctx is cancelled and left behind; the client is closed when it returns.
func (l *loop) stop(ctx context.Context) error {
	err := l.flushNow(ctx)
	l.cancel()
	select {
	case <-l.done:
		return errors.Join(err, l.closeErr)
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("close storage client: %w", context.Cause(ctx)))
	}
}

// health tells whether the storage takes what it is given: each change once to the log and the component status, all
// of it to the metrics. It is serial.
type health struct {
	logger  *zap.Logger
	host    component.Host
	numbers *numbers
	failing bool
}

func (h *health) note(err error) {
	if err == nil {
		h.numbers.flushes.Add(1)
	} else {
		h.numbers.flushErrors.Add(1)
	}
	if (err != nil) == h.failing {
		return
	}
	h.failing = err != nil
	if h.failing {
		now := time.Now()
		h.numbers.failingSince.Store(&now)
		h.logger.Error("The storage does not take the totals. Counting goes on in memory; writing is tried again.", zap.Error(err))
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(err))
		return
	}
	h.numbers.failingSince.Store(nil)
	h.logger.Info("The storage takes the totals again.")
	componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
}
