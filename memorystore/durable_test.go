package memorystore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadata"
)

var storeID = component.NewID(metadata.Type)

// durably returns a running processor with `durable` over an extension.
func durably(t testing.TB, ext *memoryExtension) processor.Logs {
	factory := tallyprocessor.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.Store, cfg.Durable = &storeID, true
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), &host{extensions: map[component.ID]component.Component{storeID: ext}}))
	return p
}

// numbered returns a batch of a record.
func numbered(n int) plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutInt("n", int64(n))
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	logs.MarkReadOnly()
	return logs
}

func sum(values map[string]int) (sum int) {
	for _, value := range values {
		sum += value
	}
	return sum
}

// TestFault_storage_durable_crash: what was acknowledged is in whatever a crash leaves behind, at any moment, with many
// senders, and with a storage that takes its time.
func TestFault_storage_durable_crash(t *testing.T) {
	const senders = 8
	seed := evidence.Seed(t)
	random := evidence.Random(seed)
	crashes := evidence.Rounds(50, 1000)
	d := newDisk()
	var counts, unconfirmed int64
	var inFlight int
	for range crashes {
		i := start(t, d)
		before := int64(sum(i.values(t)))
		d.with(func() {
			d.hook = func(context.Context) error { time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond); return nil }
		})
		p := durably(t, i.memoryExtension)
		var attempted, acknowledged atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					attempted.Add(1)
					if p.ConsumeLogs(ctx, numbered(n%7)) == nil {
						acknowledged.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
		low := acknowledged.Load()
		crashed := d.copy() // what a process that starts now would find
		high := attempted.Load()
		cancel()
		wg.Wait()
		d.with(func() { d.hook = nil })
		require.NoError(t, p.Shutdown(t.Context()))
		i.kill(t)
		d = crashed

		after := start(t, d)
		total := int64(sum(after.values(t))) - before
		require.NoError(t, after.Shutdown(t.Context()))
		require.GreaterOrEqual(t, total, low, "what was acknowledged is on disk")
		require.LessOrEqual(t, total, high, "and no more than what was attempted")
		require.Zero(t, after.loop)
		counts += low
		unconfirmed += total - low
		if total > low {
			inFlight++
		}
	}
	require.Positive(t, counts)
	evidence.Report(t, evidence.Figure{
		Rows: []int{31}, Claim: "`durable`: acknowledged <= counted <= attempted after a crash at a random moment, in process",
		Seed: seed, Rounds: crashes, Unit: "crashes", Fired: crashes, Counts: counts,
		Note: fmt.Sprintf("%d records were counted and not acknowledged yet, in %d of the crashes", unconfirmed, inFlight),
	})
}

// Without a storage there is nothing that lasts, and the processor says so.
func TestDurableWithoutStorage(t *testing.T) {
	i := start(t, nil, func(c *Config) { c.Storage = nil })
	factory := tallyprocessor.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.Store, cfg.Durable = &storeID, true
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	err = p.Start(t.Context(), &host{extensions: map[component.ID]component.Component{storeID: i.memoryExtension}})
	require.ErrorContains(t, err, "`durable` is true: store keeps nothing over restarts")
	require.ErrorContains(t, err, "`tally_memory` with `storage`")
	require.NoError(t, p.Shutdown(t.Context()))
}

// A real file: each batch that is acknowledged is in it at once.
func TestDurableFileStorage(t *testing.T) {
	directory := t.TempDir()
	i := start(t, syncedStorage(t, directory, true))
	p := durably(t, i.memoryExtension)
	for n := range 10 {
		require.NoError(t, p.ConsumeLogs(t.Context(), numbered(n)))
		assert.Empty(t, i.store.unsaved())
	}
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, i.Shutdown(t.Context()))
	again := start(t, fileStorage(t, directory))
	assert.Len(t, again.values(t), 10)
	require.NoError(t, again.Shutdown(t.Context()))
}

// unsaved returns the sections that have changed since the last flush.
func (s *memoryStore) unsaved() (list []int) {
	for section := range s.dirty {
		if s.dirty[section].Load() {
			list = append(list, section)
		}
	}
	return list
}

func syncedStorage(t testing.TB, directory string, fsync bool) component.Component {
	factory := filestorage.NewFactory()
	cfg := factory.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory, cfg.FSync = directory, fsync
	ext, err := factory.Create(context.Background(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(context.Background(), componenttest.NewNopHost()))
	return ext
}

// BenchmarkDurable is what an acknowledgement costs with `durable`: batches of 100 records from some senders at once, over a
// file that is synced or not, with some keys in the store.
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
	i := start(b, syncedStorage(b, b.TempDir(), fsync))
	for n := range keys {
		i.store.Inc(fmt.Sprintf(`["log.record.count",{"n":%d},{}]`, n))
	}
	require.NoError(b, i.store.Flush(b.Context()))
	p := durably(b, i.memoryExtension)
	before := i.numbers.flushes.Load()
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
	flushes := float64(i.numbers.flushes.Load() - before)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e3*float64(senders)/float64(b.N), "ms/ack")
	b.ReportMetric(float64(slowest.Load())/1e6, "ms-slowest")
	b.ReportMetric(float64(b.N)/max(flushes, 1), "batches/flush")
	require.NoError(b, p.Shutdown(context.Background()))
	require.NoError(b, i.Shutdown(context.Background()))
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
