// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package filestorage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
)

// durably returns a running processor with `durable` over a store.
func durably(t testing.TB, i *instance) processor.Logs {
	t.Helper()
	factory := tallyprocessor.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.Store, cfg.Durable = &storeID, true
	p, err := factory.CreateLogs(context.Background(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), host{storeID: i.Extension}))
	return p
}

// synced makes file_storage sync each write, or not.
func synced(fsync bool) func(*filestorage.Config) {
	return func(c *filestorage.Config) { c.FSync = fsync }
}

// Each batch that is acknowledged is in the file at once: an image of it, as a crash leaves it, has them all.
func TestDurable(t *testing.T) {
	directory := t.TempDir()
	images := newImager(t, directory, synced(true))
	i := start(t, images)
	p := durably(t, i)
	for n := range 10 {
		require.NoError(t, p.ConsumeLogs(t.Context(), batchOf(n+1, 1)))
		assert.Len(t, opened(t, images.name(), images.image()), n+1)
	}
	require.NoError(t, p.Shutdown(t.Context()))
	i.stop(t)
	again := start(t, fileStorage(t, directory))
	assert.Len(t, again.values(t), 10)
	again.stop(t)
}

// opened returns the totals that a store finds in a file.
func opened(t *testing.T, name string, file []byte) map[string]int {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), file, 0o600))
	i := start(t, fileStorage(t, folder))
	require.Zero(t, i.damaged(t))
	defer i.stop(t)
	return i.values(t)
}

// BenchmarkDurable is what an acknowledgement costs with `durable`: batches of 100 records from some senders at once,
// over a file that is synced or not, with some keys in the store.
func BenchmarkDurable(b *testing.B) {
	for _, keys := range []int{10, 1000, 100_000} {
		for _, fsync := range []bool{false, true} {
			for _, senders := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("keys=%d/fsync=%t/senders=%d", keys, fsync, senders), func(b *testing.B) {
					benchmarkDurable(b, keys, fsync, senders)
				})
			}
		}
	}
}

func benchmarkDurable(b *testing.B, keys int, fsync bool, senders int) {
	i := start(b, fileStorage(b, b.TempDir(), synced(fsync)))
	for n := range keys {
		i.store.Inc(fmt.Sprintf(`["log.record.count",{"n":%d},{}]`, n))
	}
	require.NoError(b, i.store.Flush(b.Context()))
	p := durably(b, i)
	before := i.number(b, "flushes")
	var left, slowest atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			logs := batchOf(10, 10)
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := p.ConsumeLogs(context.Background(), logs); err != nil {
					b.Error(err)
				}
				took := int64(time.Since(began))
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	flushes := float64(i.number(b, "flushes") - before)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e3*float64(senders)/float64(b.N), "ms/ack")
	b.ReportMetric(float64(slowest.Load())/1e6, "ms-slowest")
	b.ReportMetric(float64(b.N)/max(flushes, 1), "batches/flush")
	require.NoError(b, p.Shutdown(context.Background()))
	i.stop(b)
}

// batchOf returns a batch of some resources with some records each.
func batchOf(resources, records int) plog.Logs {
	logs := plog.NewLogs()
	for n := range resources {
		rl := logs.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutInt("n", int64(n))
		sl := rl.ScopeLogs().AppendEmpty()
		for range records {
			sl.LogRecords().AppendEmpty()
		}
	}
	logs.MarkReadOnly()
	return logs
}
