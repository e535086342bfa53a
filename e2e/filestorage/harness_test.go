// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package filestorage tests the extension tally_memory over the Collector's file_storage and the files that it writes.
// It holds tests only.
package filestorage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/logtally/tallyprocessor/memorystore"
	"github.com/logtally/tallyprocessor/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	filesID = component.MustNewID("file_storage")
	storeID = component.MustNewID("tally_memory")
)

// host has extensions.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// fileStorage returns a file_storage that keeps its file in a directory, and runs.
func fileStorage(t testing.TB, directory string, change ...func(*filestorage.Config)) component.Component {
	t.Helper()
	factory := filestorage.NewFactory()
	cfg := factory.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = directory
	for _, f := range change {
		f(cfg)
	}
	ext, err := factory.Create(context.Background(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(context.Background(), componenttest.NewNopHost()))
	return ext
}

// totals is what a store in memory can do.
type totals interface {
	store.MetricStore
	store.Lister
	Add(key string, n int)
	Flush(ctx context.Context) error
}

// instance is one life of an extension.
type instance struct {
	extension.Extension
	store     totals
	host      host
	telemetry *componenttest.Telemetry
}

// newInstance returns an extension that is not started. Its flush interval is so long that only Flush and Shutdown
// flush, unless change sets another.
func newInstance(t testing.TB, storage component.Component, change ...func(*memorystore.Config)) *instance {
	t.Helper()
	factory := memorystore.NewFactory()
	cfg := factory.CreateDefaultConfig().(*memorystore.Config)
	cfg.Storage, cfg.FlushInterval = &filesID, time.Hour
	for _, f := range change {
		f(cfg)
	}
	i := &instance{host: host{filesID: storage}, telemetry: componenttest.NewTelemetry()}
	set := extensiontest.NewNopSettings(factory.Type())
	set.ID, set.TelemetrySettings = storeID, i.telemetry.NewTelemetrySettings()
	var err error
	i.Extension, err = factory.Create(context.Background(), set, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = i.Shutdown(context.Background()) // the test's own has been checked
		require.NoError(t, storage.Shutdown(context.Background()))
	})
	return i
}

// start returns an extension that runs over a storage.
func start(t testing.TB, storage component.Component, change ...func(*memorystore.Config)) *instance {
	t.Helper()
	i := newInstance(t, storage, change...)
	require.NoError(t, i.start())
	return i
}

func (i *instance) start() error {
	if err := i.Start(context.Background(), i.host); err != nil {
		return err
	}
	i.store = i.Extension.(store.StoreExtension).MetricStore().(totals)
	return nil
}

// stop shuts the extension down, and its storage, so that another life may have the file.
func (i *instance) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, i.Shutdown(context.Background()))
	require.NoError(t, i.host[filesID].Shutdown(context.Background()))
}

// number returns the value of one of the store's own metrics, 0 when there is none.
func (i *instance) number(t testing.TB, name string) (sum int64) {
	t.Helper()
	m, err := i.telemetry.GetMetric("otelcol_extension_tally_memory_" + name)
	if err != nil {
		return 0
	}
	for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
		sum += point.Value
	}
	return sum
}

func (i *instance) damaged(t testing.TB) int64 { t.Helper(); return i.number(t, "state_damaged") }

// countKeys adds n to each of some keys.
func countKeys(i *instance, keys, n int) {
	for k := range keys {
		i.store.Add(fmt.Sprintf("key %d", k), n)
	}
}

// totals returns all totals.
func (i *instance) totals(t testing.TB) map[string]store.Total {
	t.Helper()
	all := map[string]store.Total{}
	for total, err := range i.store.Totals(context.Background()) {
		require.NoError(t, err)
		all[total.Key] = total
	}
	return all
}

func (i *instance) values(t testing.TB) map[string]int {
	t.Helper()
	values := map[string]int{}
	for key, total := range i.totals(t) {
		values[key] = total.Value
	}
	return values
}

func assertSameTotals(t *testing.T, want, got map[string]store.Total) {
	t.Helper()
	require.Len(t, got, len(want))
	for key, w := range want {
		g := got[key]
		if w.Value != g.Value || !w.Start.Equal(g.Start) || !w.Last.Equal(g.Last) {
			t.Fatalf("%q is %v instead of %v", key, g, w)
		}
	}
}
