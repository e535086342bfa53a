// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
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
		require.Zero(t, after.flusher)
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
	require.ErrorContains(t, err, "`durable` is true: the store is not durable")
	require.ErrorContains(t, err, "`tally_memory` with `storage`")
	require.NoError(t, p.Shutdown(t.Context()))
}
