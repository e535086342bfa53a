// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/store"
)

// extensionHost is a host with extensions.
type extensionHost struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h extensionHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

type nopComponent struct {
	component.StartFunc
	component.ShutdownFunc
}

type storeExtension struct {
	nopComponent
	store MetricStore
}

func (e storeExtension) MetricStore() MetricStore { return e.store }

// hostWith returns a host with a store extension `shared` and another extension, `other`.
func hostWith(store MetricStore) component.Host {
	return extensionHost{componenttest.NewNopHost(), map[component.ID]component.Component{
		component.MustNewID("shared"): storeExtension{store: store}, component.MustNewID("other"): nopComponent{},
	}}
}

// run starts a processor on a host, sends it logs and shuts it down.
func run(t *testing.T, id, yaml string, host component.Host, batches ...plog.Logs) {
	t.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	require.NoError(t, set.ID.UnmarshalText([]byte(id)))
	p, err := NewFactory().CreateLogs(t.Context(), set, testConfig(t, yaml), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host))
	for _, batch := range batches {
		require.NoError(t, p.ConsumeLogs(t.Context(), batch))
	}
	require.NoError(t, p.Shutdown(t.Context()))
}

// Two processors that count under one name in one store add up.
func TestFault_lifecycle_shared_store(t *testing.T) {
	in := NewMemoryStore()
	run(t, "tally/a", `{store: shared, logs: {m: {description: First.}}}`, hostWith(in), logs(2, nil))
	run(t, "tally/b", `{store: shared, logs: {m: {description: Second., cardinality_limit: 7}}}`, hostWith(in), logs(3, nil))
	assert.Equal(t, 5, in.Get(`["m",{"service.name":"checkout"},{}]`))
	assert.Equal(t, []store.Description{{Metric: "m", Description: "Second.", Unit: "{record}", Sum: "records", CardinalityLimit: 7}}, in.Descriptions())
	evidence.Report(t, evidence.Figure{
		Rows: []int{11}, Claim: "two processors, one store: they add up",
		Rounds: 1, Fired: 1, Counts: 5,
	})
}

// An extension that has no store to give is none, and no reason to count in a private one.
func TestStoreIsNil(t *testing.T) {
	_, err := startOn(t, "tally", "store: shared", hostWith(nil))
	require.ErrorIs(t, err, store.ErrNotAStore)
}

// unflushable is a store whose server is away: a flush takes until its context ends.
type unflushable struct {
	*MemoryStore
	flushes atomic.Int64
}

// Self makes the processor count by more than Inc.
func (s *unflushable) Self() MetricStore { return s }

func (s *unflushable) Flush(ctx context.Context) error {
	s.flushes.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func (s *unflushable) Info() store.Info { return store.Info{Durable: true} }

// An extension flushes its store itself, once, when all who count in it are shut down. So a store whose server is away
// costs one wait, however many processors there are.
func TestProcessorsDoNotFlushTheStoreOfAnExtension(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		processors := rapid.IntRange(1, 8).Draw(r, "processors")
		durable := rapid.Bool().Draw(r, "durable")
		synctest.Test(t, func(t *testing.T) {
			store := &unflushable{MemoryStore: NewMemoryStore()}
			began := time.Now()
			for i := range processors {
				run(t, fmt.Sprintf("tally/%d", i), fmt.Sprintf("{store: shared, durable: %v}", durable), hostWith(store))
			}
			assert.Zero(t, store.flushes.Load())
			assert.Zero(t, time.Since(began))
		})
	})
}

func TestStoreIsNotThere(t *testing.T) {
	for id, want := range map[string]error{"missing": store.ErrNotFound, "other": store.ErrNotAStore} {
		p, err := NewFactory().CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), testConfig(t, "store: "+id), consumertest.NewNop())
		require.NoError(t, err)
		err = p.Start(t.Context(), hostWith(NewMemoryStore()))
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, `"`+id+`"`)
		require.NoError(t, p.Shutdown(t.Context()))
	}
}

// After a restart the limit counts the same keys as before: who was admitted stays, and nobody else is.
func TestLimitHoldsOverRestarts(t *testing.T) {
	const yaml = `{store: shared, queue: {num_consumers: 1}, resource_attributes: [], logs: {m: {attributes: [{key: v}], cardinality_limit: 3}}}`
	value := func(from int) plog.Logs {
		return logs(3, func(i int, r plog.LogRecord) { r.Attributes().PutInt("v", int64(from+i)) })
	}
	store := NewMemoryStore()
	store.Inc("not a key")
	run(t, "tally", yaml, hostWith(store), value(0), value(3))
	run(t, "tally", yaml, hostWith(store), value(6), value(0))
	for v := range 3 {
		assert.Equal(t, 2, store.Get(fmt.Sprintf(`["m",{},{"v":%d}]`, v)))
	}
	assert.Equal(t, 6, store.Get(`["m",{},{"otel.metric.overflow":true}]`))
	_, keys := sumOf(t, store)
	assert.Equal(t, 3+1+1, keys)
}

func TestRestore(t *testing.T) {
	a, b := NewMemoryStore(), NewMemoryStore()
	a.Add("k", 5)
	for total, err := range a.Totals(t.Context()) {
		require.NoError(t, err)
		b.Restore(total)
		b.Inc("k")
		for got, err := range b.Totals(t.Context()) {
			require.NoError(t, err)
			assert.Equal(t, 6, got.Value)
			assert.Equal(t, 5, got.Restored)
			assert.True(t, total.Start.Equal(got.Start))
		}
	}
	assert.Equal(t, 6, b.Get("k"))
}

// A processor that has ended keeps no store in memory, its own or that of an extension, while its last numbers stay on
// the telemetry.
func TestNothingKeepsTheStore(t *testing.T) {
	for _, yaml := range []string{`{}`, `store: shared`} {
		page := newMetricsPage(t)
		factory := NewFactory()
		gone := func() weak.Pointer[MemoryStore] {
			set := processortest.NewNopSettings(metadata.Type)
			set.MeterProvider = page.provider
			p, err := factory.CreateLogs(t.Context(), set, testConfig(t, yaml), consumertest.NewNop())
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), hostWith(NewMemoryStore())))
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, nil)))
			settle(t, p)
			kept := weak.Make(p.(*logsProcessor).applier.Store.(*MemoryStore))
			require.NoError(t, p.Shutdown(t.Context()))
			return kept
		}()
		require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 10e9, 1e6, yaml)
		runtime.KeepAlive(factory)
		for _, counted := range page.scrape("otelcol_processor_tally_records_counted") {
			assert.EqualValues(t, 3, counted)
		}
	}
}
