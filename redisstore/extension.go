// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/deadline"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/statestorage"
	"github.com/logtally/tallyprocessor/store"
)

var errUnsent = errors.New("shut down before the server took all counts")

// redisExtension owns a store, and what sends it.
type redisExtension struct {
	cfg      *Config
	settings extension.Settings
	store    *redisStore

	// set by Start
	stopChecking func()
}

var _ store.StoreExtension = (*redisExtension)(nil)

func newExtension(set extension.Settings, cfg *Config) *redisExtension {
	l := newLocal(cfg.Shards, cfg.MaxKeys)
	s := &redisStore{local: l, overflows: memory.New(), timeout: cfg.Timeout, forgets: cfg.ForgetAfter, logger: set.Logger}
	s.writer = &writer{cfg: cfg, local: l, names: names{cfg.KeyPrefix}, describe: &s.described, numbers: newNumbers()}
	s.writer.sweeps = make([]sweep, cfg.Shards)
	for i := range l.shards {
		s.writer.slots = append(s.writer.slots, newSlot(&l.shards[i]))
	}
	return &redisExtension{cfg: cfg, settings: set, store: s}
}

// MetricStore returns the store, the same at every call.
func (e *redisExtension) MetricStore() store.MetricStore { return e.store }

// Dependencies makes the Collector start the storage before the store, and shut it down after it. The interface is
// extensioncapabilities.Dependent.
func (e *redisExtension) Dependencies() []component.ID {
	if e.cfg.Storage == nil {
		return nil
	}
	return []component.ID{*e.cfg.Storage}
}

// Start begins to send what is counted. A server that does not answer is no error: counting does not need it. What
// Start starts ends in Shutdown, not with ctx. A storage has until the deadline of ctx or, where it has none,
// statestorage.StartTimeout.
func (e *redisExtension) Start(ctx context.Context, host component.Host) error {
	redis.SetLogger(clientLog{e.settings.Logger})
	client, err := newClient(ctx, e.cfg)
	if err != nil {
		return fmt.Errorf("start tally_redis: %w", err)
	}
	w := e.store.writer
	w.client = client
	w.health = newHealth(e.settings.Logger, host, w.numbers)
	e.store.reader = newReader(e.cfg, client, e.store.local.opened)
	ctx, cancel := deadline.Or(ctx, statestorage.StartTimeout)
	defer cancel()
	if err := e.restore(ctx, host); err != nil {
		return fmt.Errorf("start tally_redis: %w", errors.Join(err, client.Close()))
	}
	if err := w.numbers.show(e.settings, e.store); err != nil {
		return fmt.Errorf("start tally_redis: %w", errors.Join(err, e.closeState(ctx), client.Close()))
	}
	w.start(ctx)
	e.stopChecking = e.check(context.WithoutCancel(ctx))
	return nil
}

// check looks at the server's settings once, beside everything else.
func (e *redisExtension) check(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	var running sync.WaitGroup
	running.Go(func() { check(ctx, e.store.writer.client, e.settings.Logger) })
	return func() {
		cancel()
		running.Wait()
	}
}

// restore reads what an earlier process has left in the storage.
func (e *redisExtension) restore(ctx context.Context, host component.Host) error {
	if e.cfg.Storage == nil {
		return nil
	}
	client, err := statestorage.Open(ctx, host, *e.cfg.Storage, e.settings.ID)
	if err != nil {
		return err
	}
	w := e.store.writer
	w.state = &saver{client: client, prefix: e.cfg.KeyPrefix, slots: w.slots, changed: map[int]bool{}}
	damages, err := w.state.load(ctx, e.store.local)
	if err != nil {
		return errors.Join(fmt.Errorf("`storage` is %q: %w", e.cfg.Storage, err), e.closeState(ctx))
	}
	for _, d := range damages {
		w.numbers.storageErrors.Add(1)
		e.settings.Logger.Error("A part of the stored state cannot be read. What it had unsent is lost; it is set aside.", zap.Error(d))
	}
	return nil
}

func (e *redisExtension) closeState(ctx context.Context) error {
	w := e.store.writer
	if w.state == nil {
		return nil
	}
	err := w.state.close(ctx)
	w.state = nil
	return err
}

// Shutdown sends what has changed, and says how much could not be sent. With `storage` that is kept for the next
// process. It ends within the deadline of ctx and `shutdown_timeout`, of which the server has three quarters.
func (e *redisExtension) Shutdown(ctx context.Context) error {
	w := e.store.writer
	if w.cancel == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ShutdownTimeout)
	defer cancel()
	err := w.flushLast(ctx)
	w.cancel()
	w.cancel = nil
	err = errors.Join(err, deadline.Within(ctx, e.end))
	w.numbers.hide()
	return err
}

// end waits for the writer, and keeps what it has not sent. That takes as long as the storage likes, whatever ctx says:
// so what Shutdown does not wait for may be kept all the same.
func (e *redisExtension) end(ctx context.Context) error {
	w := e.store.writer
	err := w.close()
	e.stopChecking()
	if lost := w.unsent(); lost > 0 && w.state == nil {
		err = errors.Join(err, fmt.Errorf("%w: %d are lost", errUnsent, lost))
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, w.keepLast(ctx), e.closeState(ctx))
}
