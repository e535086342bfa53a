package memorystore

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/background"
)

var errStopped = errors.New("store is shut down")

// loop is the one goroutine that uses a saver: every interval, on demand, and for the last time.
type loop struct {
	saver      *saver
	health     *health
	background *background.Loop
}

// startLoop starts the goroutine, which goes on until stop, not until ctx ends.
func startLoop(ctx context.Context, v *saver, interval time.Duration, h *health) *loop {
	l := &loop{saver: v, health: h}
	l.background = background.New(background.Settings{
		Name: "write to the storage", Delay: interval, Interval: interval, Run: l.flush, Last: l.close, Failed: l.failed,
	})
	l.background.Start(ctx)
	return l
}

func (l *loop) flush(ctx context.Context) error {
	wrote, err := l.saver.flush(ctx)
	if wrote {
		l.health.note(err)
	}
	return err
}

// failed deals with a flush that has panicked: nobody knows what it has written. Other errors flush has dealt with.
func (l *loop) failed(err error) {
	if errors.Is(err, background.ErrPanic) {
		all := allSections()
		l.saver.store.markAll(&all)
		l.health.note(err)
	}
}

// close flushes for the last time and closes the client, however long that takes.
func (l *loop) close(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, l.saver.client.Close(context.WithoutCancel(ctx))) }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.flush(ctx)
}

// flushNow has the goroutine flush and waits for it until ctx ends.
func (l *loop) flushNow(ctx context.Context) error {
	err := l.background.Do(ctx)
	if errors.Is(err, background.ErrNotRunning) {
		return errStopped
	}
	return err
}

// stop flushes for the last time, closes the client and waits for both until ctx ends. A storage call that outlasts
// ctx is canceled and left behind; the client is closed when it returns.
func (l *loop) stop(ctx context.Context) error { return l.background.Stop(ctx) }

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
