// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/deadline"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/statestorage"
	"github.com/logtally/tallyprocessor/store"
)

// memoryExtension owns a store, and what keeps it.
type memoryExtension struct {
	cfg      *Config
	settings extension.Settings
	memory   *memory.Store
	store    *memoryStore // memory, kept in the storage; nil without `storage`

	// set by Start
	ownMetrics     *ownMetrics
	flusher        *flusher
	stopForgetting func() // nil = there is nothing to stop
}

var _ store.StoreExtension = (*memoryExtension)(nil)

func newExtension(set extension.Settings, cfg *Config) *memoryExtension {
	e := &memoryExtension{cfg: cfg, settings: set}
	if cfg.Storage == nil {
		e.memory = memory.New(memory.WithForgetAfter(cfg.ForgetAfter))
		return e
	}
	e.store = newStore(cfg.ForgetAfter)
	e.memory = e.store.Store
	return e
}

// MetricStore returns the store, the same at every call.
func (e *memoryExtension) MetricStore() store.MetricStore {
	if e.store == nil {
		return e.memory
	}
	return e.store
}

// Dependencies makes the Collector start the storage before the store, and shut it down after it. The interface is
// extensioncapabilities.Dependent.
func (e *memoryExtension) Dependencies() []component.ID {
	if e.cfg.Storage == nil {
		return nil
	}
	return []component.ID{*e.cfg.Storage}
}

// Start reads the state from the storage and begins to keep it, within the deadline of ctx or, where it has none, of
// statestorage.StartTimeout. What it starts ends in Shutdown, not with ctx.
func (e *memoryExtension) Start(ctx context.Context, host component.Host) error {
	ctx, cancel := deadline.Or(ctx, statestorage.StartTimeout)
	defer cancel()
	n, err := newOwnMetrics(e.settings, e.memory)
	if err != nil {
		return fmt.Errorf("start tally_memory: %w", err)
	}
	e.ownMetrics = n
	if e.store != nil {
		if e.flusher, err = e.open(ctx, host); err != nil {
			return fmt.Errorf("start tally_memory: %w", errors.Join(err, e.Shutdown(ctx)))
		}
		e.store.flusher.Store(e.flusher)
	}
	e.stopForgetting = e.keepForgetting(context.WithoutCancel(ctx))
	return nil
}

// keepForgetting drops idle keys until stop is called, which waits for it.
func (e *memoryExtension) keepForgetting(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { e.memory.KeepForgetting(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// shutdownTimeout is how long Shutdown waits for the storage where the Collector gives no deadline: for a disk that is
// busy, and less than what service managers give a process.
const shutdownTimeout = 10 * time.Second

// Shutdown writes what has changed and gives the storage back, within the deadline of ctx or, where it has none, of
// shutdownTimeout.
func (e *memoryExtension) Shutdown(ctx context.Context) error {
	ctx, cancel := deadline.Or(ctx, shutdownTimeout)
	defer cancel()
	var err error
	if e.stopForgetting != nil {
		e.stopForgetting()
		e.stopForgetting = nil
	}
	if e.flusher != nil {
		err = e.flusher.stop(ctx)
		e.flusher = nil
	}
	if e.ownMetrics != nil {
		e.ownMetrics.builder.Shutdown()
		e.ownMetrics = nil
	}
	return err
}

func (e *memoryExtension) open(ctx context.Context, host component.Host) (*flusher, error) {
	client, err := statestorage.Open(ctx, host, *e.cfg.Storage, e.settings.ID)
	if err != nil {
		return nil, err
	}
	v, err := e.load(ctx, client)
	if err != nil {
		return nil, errors.Join(err, client.Close(ctx))
	}
	f := startFlusher(ctx, v, e.cfg.FlushInterval, &health{logger: e.settings.Logger, host: host, ownMetrics: e.ownMetrics})
	// sets aside what is damaged, if anything; health reports the error, and the next flush tries again
	_ = f.flushNow(ctx)
	return f, nil
}

// load fills the store from the storage, and erases there what the configuration asks for.
func (e *memoryExtension) load(ctx context.Context, client *statestorage.Client) (*saver, error) {
	r, err := newRequest(e.cfg)
	if err != nil {
		return nil, err
	}
	v := newSaver(client, e.settings.ID.String(), e.store, r)
	damages, err := v.load(ctx)
	e.logDamages(damages)
	if err == nil {
		err = v.settle(ctx, e.settings.Logger)
	}
	if err != nil {
		return nil, fmt.Errorf("`storage` is %q: %w", e.cfg.Storage, err)
	}
	return v, nil
}

func (e *memoryExtension) logDamages(damages []statestorage.Damage) {
	for _, d := range damages {
		e.ownMetrics.damaged.Add(1)
		e.settings.Logger.Error("A part of the stored totals cannot be read. Its last complete version is used, if there is one",
			zap.String("slot", d.Name), zap.String("set_aside_as", d.Aside), zap.Error(d.Err))
	}
}
