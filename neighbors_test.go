// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor_test

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// gate blocks the calls of one name, once it is shut, until it is released: heeding their context or deaf to it. Or it
// makes them panic.
type gate struct {
	name     string
	deaf     bool
	panics   bool
	shut     atomic.Bool
	released chan struct{}
}

func (g *gate) pass(ctx context.Context, name string) error {
	if name != g.name || !g.shut.Load() {
		return nil
	}
	if g.panics {
		panic("the neighbor")
	}
	if g.deaf {
		ctx = context.Background()
	}
	select {
	case <-g.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// plainStore is a store that has nothing but its two methods, and Lister.
type plainStore struct {
	g *gate
	m *tallyprocessor.MemoryStore
}

func (s plainStore) Get(key string) int {
	_ = s.g.pass(context.Background(), "Get") // it cannot fail
	return s.m.Get(key)
}

func (s plainStore) Inc(key string) {
	_ = s.g.pass(context.Background(), "Inc") // it cannot fail
	s.m.Inc(key)
}

func (s plainStore) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		if err := s.g.pass(ctx, "Totals"); err != nil {
			yield(store.Total{}, err)
			return
		}
		s.m.Totals(ctx)(yield)
	}
}

// fullStore is a store that has all methods but Bind.
type fullStore struct{ plainStore }

func (s fullStore) Add(key string, n int) {
	_ = s.g.pass(context.Background(), "Add") // it cannot fail
	s.m.Add(key, n)
}
func (s fullStore) Flush(ctx context.Context) error { return s.g.pass(ctx, "Flush") }
func (s fullStore) Info() store.Info {
	_ = s.g.pass(context.Background(), "Info") // it cannot fail
	return store.Info{Durable: true}
}

func (s fullStore) Describe(d store.Description) {
	_ = s.g.pass(context.Background(), "Describe") // it cannot fail
	s.m.Describe(d)
}

func (s fullStore) Descriptions() []store.Description {
	_ = s.g.pass(context.Background(), "Descriptions") // it cannot fail
	return s.m.Descriptions()
}

func (s fullStore) Claim(d store.Description, begin func() any) (any, func(), error) {
	_ = s.g.pass(context.Background(), "Claim") // it cannot fail
	return s.m.Claim(d, begin)
}

// boundStore is a store with Counters.
type boundStore struct{ fullStore }

func (s boundStore) Now() time.Time {
	_ = s.g.pass(context.Background(), "Now") // it cannot fail
	return s.m.Now()
}

func (s boundStore) Bind(key string) store.Counter {
	_ = s.g.pass(context.Background(), "Bind") // it cannot fail
	return gatedCounter{s.m.Bind(key), s.g}
}

type gatedCounter struct {
	store.Counter
	g *gate
}

func (c gatedCounter) Add(n int, now time.Time) bool {
	_ = c.g.pass(context.Background(), "Counter.Add") // it cannot fail
	return c.Counter.Add(n, now)
}

// forgettingStore is a store that drops keys, with what else the stores of this project can do.
type forgettingStore struct{ boundStore }

func (s forgettingStore) OnForget(told func([]string)) (unregister func()) {
	_ = s.g.pass(context.Background(), "OnForget") // it cannot fail
	end := s.m.OnForget(told)
	return func() {
		_ = s.g.pass(context.Background(), "unregister") // it cannot fail
		end()
	}
}

func (s forgettingStore) Has(key string) bool {
	_ = s.g.pass(context.Background(), "Has") // it cannot fail
	return s.m.Has(key)
}

func (s forgettingStore) Forgotten() map[string]capability.Forgotten {
	_ = s.g.pass(context.Background(), "Forgotten") // it cannot fail
	return s.m.Forgotten()
}

func (s forgettingStore) Saturated() int64 {
	_ = s.g.pass(context.Background(), "Saturated") // it cannot fail
	return s.m.Saturated()
}

func (s forgettingStore) KeysOf(metric string) (keys iter.Seq[string], atMost int) {
	_ = s.g.pass(context.Background(), "KeysOf") // it cannot fail
	return s.m.KeysOf(metric)
}

func (s forgettingStore) Overflowed(metric, key string, n int) {
	_ = s.g.pass(context.Background(), "Overflowed") // it cannot fail
	s.m.Overflowed(metric, key, n)
}

func (s forgettingStore) Overflows(metric string, limit int) []capability.Overflow {
	_ = s.g.pass(context.Background(), "Overflows") // it cannot fail
	return s.m.Overflows(metric, limit)
}

func (s forgettingStore) Self() store.MetricStore {
	_ = s.g.pass(context.Background(), "Self") // it cannot fail
	return s
}

// neighbors is a host: a store and a storage behind the gate.
type neighbors struct {
	component.StartFunc
	component.ShutdownFunc
	g     *gate
	store store.MetricStore
}

func (n *neighbors) MetricStore() store.MetricStore { return n.store }

func (n *neighbors) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{storeID: n, storageID: n}
}

func (n *neighbors) GetClient(ctx context.Context, _ component.Kind, _ component.ID, _ string) (storage.Client, error) {
	return n, n.g.pass(ctx, "GetClient")
}

func (n *neighbors) Batch(ctx context.Context, ops ...*storage.Operation) error {
	return n.g.pass(ctx, "Batch")
}
func (n *neighbors) Close(ctx context.Context) error { return n.g.pass(ctx, "Close") }

func (n *neighbors) Get(context.Context, string) ([]byte, error) { return nil, nil }
func (n *neighbors) Set(context.Context, string, []byte) error   { return nil }
func (n *neighbors) Delete(context.Context, string) error        { return nil }

func (n *neighbors) nextLogs() consumer.Logs {
	next, _ := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error { return n.g.pass(ctx, "ConsumeLogs") })
	return next
}

func (n *neighbors) nextMetrics() consumer.Metrics {
	next, _ := consumer.NewMetrics(func(ctx context.Context, _ pmetric.Metrics) error { return n.g.pass(ctx, "ConsumeMetrics") })
	return next
}
