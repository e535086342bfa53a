// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/background"
	"github.com/logtally/tallyprocessor/internal/recovered"
)

var errStopped = errors.New("store is shut down")

// flusher is the one goroutine that uses a saver: every interval, on demand, and for the last time.
type flusher struct {
	saver      *saver
	health     *health
	background *background.Loop
}

// startFlusher starts the goroutine, which goes on until stop, not until ctx ends.
func startFlusher(ctx context.Context, v *saver, interval time.Duration, h *health) *flusher {
	f := &flusher{saver: v, health: h}
	f.background = background.New(background.Settings{
		Name: "write to the storage", Delay: interval, Interval: interval, Run: f.flush, Last: f.close, Failed: f.failed,
	})
	f.background.Start(ctx)
	return f
}

func (f *flusher) flush(ctx context.Context) error {
	wrote, err := f.saver.flush(ctx)
	if wrote {
		f.health.note(err)
	}
	return err
}

// failed deals with a flush that has panicked: nobody knows what it has written. Other errors flush has dealt with.
func (f *flusher) failed(err error) {
	if errors.Is(err, recovered.ErrPanic) {
		all := allSections()
		f.saver.store.markAllDirty(&all)
		f.health.note(err)
	}
}

// close flushes for the last time and closes the client, however long that takes.
func (f *flusher) close(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, f.saver.client.Close(context.WithoutCancel(ctx))) }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f.flush(ctx)
}

// flushNow has the goroutine flush and waits for it until ctx ends.
func (f *flusher) flushNow(ctx context.Context) error {
	err := f.background.Do(ctx)
	if errors.Is(err, background.ErrNotRunning) {
		return errStopped
	}
	return err
}

// stop flushes for the last time, closes the client and waits for both until ctx ends. A storage call that outlasts
// ctx is canceled and left behind; the client is closed when it returns.
func (f *flusher) stop(ctx context.Context) error { return f.background.Stop(ctx) }

// health tells whether the storage takes what it is given: each change once to the log and the component status, all
// of it to the metrics. It is serial.
type health struct {
	logger     *zap.Logger
	host       component.Host
	ownMetrics *ownMetrics
	failing    bool
}

func (h *health) note(err error) {
	if err == nil {
		h.ownMetrics.flushes.Add(1)
	} else {
		h.ownMetrics.flushErrors.Add(1)
	}
	if (err != nil) == h.failing {
		return
	}
	h.failing = err != nil
	if h.failing {
		now := time.Now()
		h.ownMetrics.failingSince.Store(&now)
		h.logger.Error("Writing to the storage fails. Counting continues in memory, and the write is retried", zap.Error(err))
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(err))
		return
	}
	h.ownMetrics.failingSince.Store(nil)
	h.logger.Info("Writing to the storage works again")
	componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
}
