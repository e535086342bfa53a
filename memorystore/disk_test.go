// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/memorystore/internal/metadatatest"
	"github.com/logtally/tallyprocessor/store"
)

var (
	diskID = component.MustNewID("disk")

	errCrashed  = errors.New("crashed")
	errDiskFull = storage.ErrStorageFull
)

// disk is a storage extension that outlives the extension under test, and that fails as it is told.
type disk struct {
	component.StartFunc
	component.ShutdownFunc

	// mu guards the fields below.
	mu      sync.Mutex
	data    map[string][]byte
	budget  int                             // writes until it crashes; negative = it does not
	torn    bool                            // the write that crashes leaves a half of its bytes
	err     error                           // of every Batch with a write in it, which then does nothing
	hook    func(ctx context.Context) error // called first in a Batch, without the lock
	batches int                             // with a write in them
	writes  int
	open    int // clients
}

func newDisk() *disk { return &disk{data: map[string][]byte{}, budget: -1} }

func (d *disk) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	return &diskClient{disk: d}, nil
}

// with changes the disk under its lock.
func (d *disk) with(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// written returns how many batches had a write in them.
func (d *disk) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.batches
}

// copy returns a disk of the same content that works.
func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newDisk()
	c.data = maps.Clone(d.data)
	return c
}

type diskClient struct{ disk *disk }

func (c *diskClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	d := c.disk
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(ops) > 0 && ops[0].Type != storage.Get {
		d.batches++
		if d.err != nil {
			return d.err
		}
	}
	for _, op := range ops {
		if err := d.apply(op); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) apply(op *storage.Operation) error {
	if op.Type == storage.Get {
		op.Value = d.data[op.Key]
		return nil
	}
	if d.budget == 0 {
		if d.torn && op.Type == storage.Set {
			d.data[op.Key] = append([]byte{}, op.Value[:len(op.Value)/2]...)
			d.torn = false
		}
		return errCrashed
	}
	d.budget--
	d.writes++
	if op.Type == storage.Delete {
		delete(d.data, op.Key)
	} else {
		d.data[op.Key] = append([]byte{}, op.Value...)
	}
	return nil
}

func (c *diskClient) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c *diskClient) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c *diskClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

func (c *diskClient) Close(context.Context) error {
	c.disk.with(func() { c.disk.open-- })
	return nil
}

// host has one extension and keeps the status events.
type host struct {
	extensions map[component.ID]component.Component

	// mu guards the field below.
	mu       sync.Mutex
	statuses []componentstatus.Status
}

func (h *host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func (h *host) Report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statuses = append(h.statuses, event.Status())
}

// instance is one life of an extension.
type instance struct {
	*memoryExtension
	host      *host
	logs      *observer.ObservedLogs
	telemetry *componenttest.Telemetry
}

// newInstance returns an extension that is not started. Its flush interval is so long that only Flush and Shutdown
// flush, unless change sets another.
func newInstance(t testing.TB, storageExtension component.Component, change ...func(*Config)) *instance {
	core, logs := observer.New(zapcore.InfoLevel)
	i := &instance{
		host:      &host{extensions: map[component.ID]component.Component{diskID: storageExtension}},
		logs:      logs,
		telemetry: componenttest.NewTelemetry(),
	}
	set := metadatatest.NewSettings(i.telemetry)
	set.Logger = zap.New(core)
	cfg := &Config{Storage: &diskID, FlushInterval: 1 << 62}
	for _, f := range change {
		f(cfg)
	}
	i.memoryExtension = newExtension(set, cfg)
	t.Cleanup(func() { _ = i.Shutdown(context.Background()) }) // the test's own has been checked
	return i
}

// start returns an extension that runs over a disk.
func start(t testing.TB, storageExtension component.Component, change ...func(*Config)) *instance {
	i := newInstance(t, storageExtension, change...)
	require.NoError(t, i.Start(t.Context(), i.host))
	return i
}

// kill ends an extension as a crash does: nothing is flushed.
func (i *instance) kill(t testing.TB) {
	d := i.host.extensions[diskID].(*disk)
	d.with(func() { d.err = errCrashed })
	_ = i.Shutdown(t.Context()) // the flush fails, as it shall
	d.with(func() { d.err = nil })
}

func (i *instance) damaged() int { return int(i.ownMetrics.damaged.Load()) }

// totals returns all totals, whose times are as time.Unix gives them.
func (i *instance) totals(t testing.TB) map[string]store.Total {
	all := map[string]store.Total{}
	for total, err := range i.memory.Totals(t.Context()) {
		require.NoError(t, err)
		total.Start = total.Start.Round(0)
		all[total.Key] = total
	}
	return all
}

func (i *instance) values(t testing.TB) map[string]int {
	values := map[string]int{}
	for key, total := range i.totals(t) {
		values[key] = total.Value
	}
	return values
}
