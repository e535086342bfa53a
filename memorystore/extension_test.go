// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/statestorage"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadatatest"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
)

func TestConfig(t *testing.T) {
	for interval, want := range map[string]string{
		"1ms": "", "1s": "",
		"0s":  "`flush_interval` is 0s: must be positive",
		"-1s": "`flush_interval` is -1s: must be positive",
	} {
		cfg := NewFactory().CreateDefaultConfig().(*Config)
		conf := confmap.NewFromStringMap(map[string]any{"storage": "file_storage/a", "flush_interval": interval})
		require.NoError(t, conf.Unmarshal(cfg))
		assert.Equal(t, "file_storage/a", cfg.Storage.String())
		if err := cfg.Validate(); want == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, want)
		}
	}
	forgetful := NewFactory().CreateDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"forget_after": "24h"}).Unmarshal(forgetful))
	assert.Equal(t, 24*time.Hour, forgetful.ForgetAfter)
	assert.NoError(t, forgetful.Validate())
	forgetful.ForgetAfter = -time.Hour
	assert.EqualError(t, forgetful.Validate(), "`forget_after` is -1h0m0s: must not be negative")
	cfg := NewFactory().CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{}).Unmarshal(cfg))
	assert.Equal(t, &Config{FlushInterval: time.Second}, cfg)
	assert.NoError(t, cfg.(*Config).Validate())
}

func TestFactoryMakesAStoreExtension(t *testing.T) {
	e, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(typ), createDefaultConfig())
	require.NoError(t, err)
	h := &host{extensions: map[component.ID]component.Component{component.NewID(typ): e}}
	s, err := store.Find(h, component.NewID(typ))
	require.NoError(t, err)
	assert.Same(t, s, e.(store.StoreExtension).MetricStore())
}

func TestDependencies(t *testing.T) {
	assert.Equal(t, []component.ID{diskID}, newInstance(t, nil).Dependencies())
	assert.Empty(t, newInstance(t, nil, func(c *Config) { c.Storage = nil }).Dependencies())
}

func TestShutdownWithoutStart(t *testing.T) {
	i := newInstance(t, newDisk())
	assert.NoError(t, i.store.Flush(t.Context()))
	assert.NoError(t, i.Shutdown(t.Context()))
	assert.NoError(t, i.Shutdown(t.Context()))
}

// brokenStorage fails, or panics, when a client is asked for.
type brokenStorage struct {
	disk
	client func() (storage.Client, error)
}

func (b *brokenStorage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return b.client()
}

func TestStartWithoutAStorage(t *testing.T) {
	i := newInstance(t, nil)
	i.host.extensions = nil
	err := i.Start(t.Context(), i.host)
	require.ErrorIs(t, err, statestorage.ErrNotFound)
	assert.ErrorContains(t, err, "`storage` is \"disk\"")

	i = newInstance(t, newInstance(t, nil))
	err = i.Start(t.Context(), i.host)
	require.ErrorIs(t, err, statestorage.ErrNotAStorage)
	assert.ErrorContains(t, err, "`storage` is \"disk\"")

	i = newInstance(t, &brokenStorage{client: func() (storage.Client, error) { return nil, errCrashed }})
	require.ErrorIs(t, i.Start(t.Context(), i.host), errCrashed)

	i = newInstance(t, &brokenStorage{client: func() (storage.Client, error) { panic("page 7") }})
	err = i.Start(t.Context(), i.host)
	require.ErrorIs(t, err, statestorage.ErrPanic)
	assert.ErrorContains(t, err, "page 7")

	d := newDisk()
	d.hook = func(context.Context) error { return errCrashed }
	i = newInstance(t, d)
	require.ErrorIs(t, i.Start(t.Context(), i.host), errCrashed)
	assert.Zero(t, d.open, "the client is closed")
}

func TestFault_storage_foreign_state(t *testing.T) {
	slot := state.Name(state.Bucket("key 1"), 1)
	for name, tt := range map[string]struct {
		blob []byte
		want error
	}{
		"newer": {newerState(t), statestorage.ErrNewer},
		"another component": {
			state.Encode(state.Blob{Owner: "tally_memory/other", Section: state.Bucket("key 1"), Generation: 9}),
			state.ErrForeign,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoFlushes(t)
			d.data[slot] = tt.blob
			d.data[state.Name(state.Bucket("key 2"), 0)] = []byte("damaged, too")
			before := maps.Clone(d.data)
			i := newInstance(t, d)
			err := i.Start(t.Context(), i.host)
			require.ErrorIs(t, err, statestorage.ErrRefused)
			require.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, slot)
			assert.ErrorContains(t, err, "`storage`")
			assert.Zero(t, d.open, "the client is closed")
			assert.Empty(t, i.values(t))
			require.NoError(t, i.Shutdown(t.Context()))
			assert.Equal(t, before, d.data)
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{41, 47}, Claim: "a state of a newer version or another component: refused, and left as it is",
		Rounds: 2, Fired: 2,
	})
}

// newerState returns what a later version of tally might write.
func newerState(t *testing.T) []byte {
	blob := state.Encode(state.Blob{Owner: "tally_memory", Section: state.Bucket("key 1"), Generation: 9})
	return withVersion(t, blob, state.Version+1)
}

func TestFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx, cancel := context.WithCancel(t.Context())
		i := newInstance(t, d, func(c *Config) { c.FlushInterval = time.Second })
		require.NoError(t, i.Start(ctx, i.host))
		cancel() // the loop does not end with the context of Start
		for n := range 3 {
			i.store.Inc("a")
			time.Sleep(999 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, n, d.written())
			time.Sleep(time.Millisecond)
			synctest.Wait()
			assert.Equal(t, n+1, d.written())
		}
		time.Sleep(time.Minute)
		assert.Equal(t, 3, d.written(), "nothing changes, nothing is written")
		require.NoError(t, i.Shutdown(t.Context()))
	})
}

// TestFault_storage_full_heals: counting goes on, the failure is told once, and all is there when the disk works again.
func TestFault_storage_full_heals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		i := start(t, d, func(c *Config) { c.FlushInterval = time.Second })
		d.with(func() { d.err = errDiskFull })
		time.Sleep(time.Second / 2) // so that no interval ends when somebody asks: one flush is for both then
		for range 10 {
			countKeys(i, 100, 1)
			require.ErrorIs(t, i.store.Flush(t.Context()), errDiskFull)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, i.host.statuses)
		assert.Equal(t, 1, i.logs.Len())
		opts := []metricdatatest.Option{metricdatatest.IgnoreTimestamp()}
		id := attribute.NewSet(attribute.String("extension", "tally_memory"))
		point := func(n int64) []metricdata.DataPoint[int64] {
			return []metricdata.DataPoint[int64]{{Attributes: id, Value: n}}
		}
		metadatatest.AssertEqualExtensionTallyMemoryFlushErrors(t, i.telemetry, point(20), opts...)
		metadatatest.AssertEqualExtensionTallyMemoryFlushes(t, i.telemetry, point(0), opts...)
		metadatatest.AssertEqualExtensionTallyMemoryKeys(t, i.telemetry, point(100), opts...)
		metadatatest.AssertEqualExtensionTallyMemoryStateDamaged(t, i.telemetry, point(0), opts...)
		metadatatest.AssertEqualExtensionTallyMemoryStorageFailingDuration(t, i.telemetry,
			[]metricdata.DataPoint[float64]{{Attributes: id, Value: 10}}, opts...)

		d.with(func() { d.err = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{
			componentstatus.StatusRecoverableError, componentstatus.StatusOK,
		}, i.host.statuses)
		assert.Equal(t, 2, i.logs.Len())
		metadatatest.AssertEqualExtensionTallyMemoryFlushes(t, i.telemetry, point(1), opts...)
		assert.Zero(t, i.ownMetrics.failingSeconds())

		again := start(t, d.copy())
		assert.Len(t, again.values(t), 100)
		assert.Equal(t, 10, again.store.Get("key 99"))
		require.NoError(t, again.Shutdown(t.Context()))
		require.NoError(t, i.Shutdown(t.Context()))
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{37}, Claim: "the storage is full for ten flushes: told once, counted on, all written when it works",
		Rounds: 10, Unit: "flushes", Fired: 10, Counts: 1000,
	})
}

func TestFault_storage_panics(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	d.with(func() { d.hook = func(context.Context) error { panic("page 7") } })
	i.store.Inc("a")
	err := i.store.Flush(t.Context())
	require.ErrorIs(t, err, statestorage.ErrPanic)
	assert.ErrorContains(t, err, "page 7")
	d.with(func() { d.hook = nil })
	require.NoError(t, i.store.Flush(t.Context()))
	evidence.Report(t, evidence.Figure{
		Rows: []int{37}, Claim: "the storage panics: an error, and the next flush writes all",
		Rounds: 1, Fired: 1, Counts: 1,
	})
}

func TestLastFlushFails(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	i.store.Inc("a")
	d.with(func() { d.err = errDiskFull })
	require.ErrorIs(t, i.Shutdown(t.Context()), errDiskFull)
	assert.Zero(t, d.open)
}

// TestFault_storage_hangs: neither counting nor listing waits for it, Flush and Shutdown wait as long as they may, and
// the client is closed once the call returns.
func TestFault_storage_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		i := start(t, d, func(c *Config) { c.FlushInterval = time.Second })
		release := make(chan struct{})
		d.with(func() { d.hook = func(context.Context) error { <-release; return errors.New("timeout") } })
		i.store.Inc("a")
		time.Sleep(2 * time.Second)
		i.store.Inc("a") // returns
		assert.Equal(t, map[string]int{"a": 2}, i.values(t))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, i.store.Flush(ctx), context.DeadlineExceeded)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, i.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 2*time.Minute, time.Since(began))
		assert.Equal(t, 1, d.open, "in use")
		close(release)
		synctest.Wait()
		assert.Zero(t, d.open)
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{44}, Claim: "the storage never answers: counting goes on, Flush and Shutdown end in their time",
		Rounds: 1, Fired: 1, Counts: 2,
	})
}

// TestShutdownCancelsTheStorage: a storage that honors its context is not left behind.
func TestShutdownCancelsTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		i := start(t, d)
		d.with(func() { d.hook = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		i.store.Inc("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, i.Shutdown(ctx), context.DeadlineExceeded)
		synctest.Wait()
		assert.Zero(t, d.open)
	})
}

// TestIncDuringAFlushIsNotForgotten: what is counted after a flush has taken the changes is in the next one.
func TestIncDuringAFlushIsNotForgotten(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	var once atomic.Bool
	d.with(func() {
		d.hook = func(context.Context) error {
			if once.CompareAndSwap(false, true) {
				i.store.Inc("a")
			}
			return nil
		}
	})
	i.store.Inc("a")
	require.NoError(t, i.store.Flush(t.Context()))
	early := start(t, d.copy())
	assert.Equal(t, 1, early.store.Get("a"))
	require.NoError(t, i.store.Flush(t.Context()))
	assert.Equal(t, 2, start(t, d.copy()).store.Get("a"))
}

func TestAllocCountingAKnownKey(t *testing.T) {
	s := newStore(0)
	s.Inc("a")
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Inc("a") }))
}

func BenchmarkInc(b *testing.B) {
	s := newStore(0)
	key := `["log.record.count",{"service.name":"checkout"},{"env":"prod","http.response.status_code":200}]`
	b.ReportAllocs()
	for b.Loop() {
		s.Inc(key)
	}
}
