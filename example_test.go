// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/contracttest"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/store/storetest"
)

// mapStore is a store of one's own. Inc and Get are all that counting needs.
type mapStore struct {
	// mu guards the field below.
	mu     sync.Mutex
	totals map[string]store.Total
}

func newMapStore() *mapStore { return &mapStore{totals: map[string]store.Total{}} }

// Inc adds one.
func (s *mapStore) Inc(key string) { s.Add(key, 1) }

// Get returns the total.
func (s *mapStore) Get(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals[key].Value
}

// Add is optional: it saves the processor n calls of Inc.
func (s *mapStore) Add(key string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t, ok := s.totals[key]
	if !ok {
		t = store.Total{Key: key, Start: now}
	}
	t.Value += min(n, math.MaxInt-t.Value) // a total at the largest int stays there
	t.Last = now
	s.totals[key] = t
}

// Totals is optional: the receiver and the console need it.
func (s *mapStore) Totals(context.Context) iter.Seq2[store.Total, error] {
	s.mu.Lock()
	totals := maps.Clone(s.totals) // yield is not called under the lock
	s.mu.Unlock()
	return func(yield func(store.Total, error) bool) {
		for _, t := range totals {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// sum returns the sum of all totals.
func (s *mapStore) sum() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := 0
	for _, t := range s.totals {
		sum += t.Value
	}
	return sum
}

// A processor that is assembled in Go counts in the store that it is given.
func ExampleWithMetricStore() {
	ctx, totals := context.Background(), newMapStore()
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(totals))
	cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.ResourceAttributes = []string{} // none; nil would be all
	cfg.Logs = map[string]tallyprocessor.MetricConfig{
		"http.requests": {Attributes: []tallyprocessor.AttributeConfig{{Key: "http.route", DefaultValue: "unknown"}}},
	}
	if err := cfg.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	sink := new(consumertest.LogsSink)
	p, err := factory.CreateLogs(ctx, processortest.NewNopSettings(factory.Type()), cfg, sink)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = p.Start(ctx, componenttest.NewNopHost())
	_ = p.ConsumeLogs(ctx, twoRequests())
	_ = p.Shutdown(ctx) // counts what is queued

	fmt.Println(sink.LogRecordCount(), "records forwarded")
	fmt.Println(totals.Get(`["http.requests",{},{"http.route":"/cart"}]`), "of /cart")
	fmt.Println(totals.Get(`["http.requests",{},{"http.route":"unknown"}]`), "without a route")
	// Output:
	// 2 records forwarded
	// 1 of /cart
	// 1 without a route
}

func twoRequests() plog.Logs {
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	records.AppendEmpty().Attributes().PutStr("http.route", "/cart")
	records.AppendEmpty()
	return ld
}

// mapExtension offers a mapStore in YAML, by its component id.
type mapExtension struct {
	component.StartFunc
	component.ShutdownFunc
	totals *mapStore
}

// MetricStore returns the same store at every call.
func (e *mapExtension) MetricStore() tallyprocessor.MetricStore { return e.totals }

var _ tallyprocessor.StoreExtension = (*mapExtension)(nil)

// newMapExtensionFactory is for the `extensions` of a builder configuration, as NewFactory of its package.
func newMapExtensionFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("map_store"),
		func() component.Config { return &struct{}{} },
		func(context.Context, extension.Settings, component.Config) (extension.Extension, error) {
			return &mapExtension{totals: newMapStore()}, nil
		},
		component.StabilityLevelDevelopment,
	)
}

// A store that is named in YAML is offered by an extension.
func ExampleStoreExtension() {
	factory := newMapExtensionFactory()
	e, err := factory.Create(context.Background(), extension.Settings{ID: component.NewID(factory.Type())}, factory.CreateDefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, ok := e.(tallyprocessor.StoreExtension)
	fmt.Println("processors: {tally: {store: map_store}} finds it:", ok)
	// Output: processors: {tally: {store: map_store}} finds it: true
}

// The contract of stores is a test suite.
func TestMapStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.MetricStore { return newMapStore() })
}

// And so is that of a processor which counts.
func TestProcessorOverMapStore(t *testing.T) {
	contracttest.Check(t, 50, func(*testing.T) contracttest.Subject {
		totals := newMapStore()
		factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(totals))
		cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
		cfg.ResourceAttributes = []string{}
		cfg.Logs = map[string]tallyprocessor.MetricConfig{"c": {Attributes: []tallyprocessor.AttributeConfig{{Key: contracttest.IDAttribute}}}}
		return contracttest.Subject{
			Factory: factory,
			Config:  cfg,
			Counted: func(id string) int { return totals.Get(fmt.Sprintf(`["c",{},{"test_id":%q}]`, id)) },
			Sum:     totals.sum,
		}
	})
}
