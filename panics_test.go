// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
)

// storeCalls are all calls of a store.
var storeCalls = []string{
	"nothing", "Inc", "Get", "Add", "Bind", "Now", "Counter.Add", "Totals", "Flush", "Info", "Describe", "Descriptions", "Claim", "OnForget",
	"unregister", "Has", "Forgotten", "Saturated", "KeysOf", "Overflowed", "Overflows", "Self",
}

// storesBehind returns the stores whose calls pass a gate.
func storesBehind(g *gate) []store.MetricStore {
	plain := plainStore{g, tallyprocessor.NewMemoryStore()}
	full := fullStore{plain}
	return []store.MetricStore{plain, durable{plain}, full, boundStore{full}, forgettingStore{boundStore{full}}}
}

// storeLife is the life of a processor on a store that fails in its calls of one name, from the beginning or once there
// were counts.
type storeLife struct {
	gate    *gate
	store   store.MetricStore
	early   bool
	durable bool
	limit   time.Duration // the Collector's deadline

	telemetry *componenttest.Telemetry
}

func (l *storeLife) String() string {
	return fmt.Sprintf("%T, %s, early %t, durable %t", l.store, l.gate.name, l.early, l.durable)
}

func (l *storeLife) make(t *testing.T) processor.Logs {
	t.Helper()
	l.telemetry = componenttest.NewTelemetry()
	t.Cleanup(func() { _ = l.telemetry.Shutdown(context.Background()) }) // what it pushes then is not asked for
	f := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(l.store))
	cfg := tallyConfig(l.durable)
	one := 1
	cfg.Store, cfg.LogOverflowedKeys = nil, true
	cfg.Logs = map[string]tallyprocessor.MetricConfig{
		"m": {Attributes: []tallyprocessor.AttributeConfig{{Key: "a"}}, CardinalityLimit: &one},
	}
	set := processortest.NewNopSettings(f.Type())
	set.TelemetrySettings = l.telemetry.NewTelemetrySettings()
	p, err := f.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	return p
}

func (l *storeLife) withLimit(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.limit)
	defer cancel()
	return f(ctx)
}

// send sends records of three keys, of which one has a place.
func (l *storeLife) send(p processor.Logs) {
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range 3 {
		records.AppendEmpty().Attributes().PutInt("a", int64(i))
	}
	_ = l.withLimit(func(ctx context.Context) error { return p.ConsumeLogs(ctx, ld) }) // a durable one may refuse them
}

// forget drops all keys.
func (l *storeLife) forget() {
	if s, ok := l.store.(forgettingStore); ok {
		s.m.Forget(func(string) bool { return true })
	}
}

// run returns whether the processor could start.
func (l *storeLife) run(t *testing.T) (p processor.Logs, started bool) {
	p = l.make(t)
	l.gate.shut.Store(l.early)
	err := l.withLimit(func(ctx context.Context) error { return p.Start(ctx, componenttest.NewNopHost()) })
	if err == nil {
		l.send(p)
		l.gate.shut.Store(true)
		l.send(p)
		l.forget()
		l.send(p)
	}
	return p, err == nil
}

func sumOf(t *testing.T, telemetry *componenttest.Telemetry, name string) (sum int64) {
	m, err := telemetry.GetMetric("otelcol_processor_tally_" + name)
	require.NoError(t, err)
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			sum += p.Value
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			sum += p.Value
		}
	}
	return sum
}

// TestStoresThatPanic: whichever call of a store panics, from the beginning or later, the Collector goes on: Start says
// why it cannot, and what is received is counted or not counted.
func TestStoresThatPanic(t *testing.T) {
	refused := 0
	for _, name := range storeCalls {
		for n := range storesBehind(nil) {
			for _, early := range []bool{true, false} {
				for _, keeps := range []bool{true, false} {
					g := &gate{name: name, panics: true}
					l := &storeLife{gate: g, store: storesBehind(g)[n], early: early, durable: keeps, limit: 50 * time.Millisecond}
					p, started := l.run(t)
					_ = l.withLimit(p.Shutdown) // a store that does not flush is an error
					if !started {
						refused++
						continue
					}
					assert.EqualValues(t, 9, sumOf(t, l.telemetry, "records_received"), l)
					assert.EqualValues(t, 9, sumOf(t, l.telemetry, "records_counted")+sumOf(t, l.telemetry, "records_not_counted"), l)
				}
			}
		}
	}
	assert.Positive(t, refused)
}

// TestForgettingStoresThatBlock: a store that blocks in whatever it is called for, also where that is under a lock,
// holds Start and Shutdown no longer than the Collector's deadline.
func TestForgettingStoresThatBlock(t *testing.T) {
	for _, name := range storeCalls {
		for _, early := range []bool{true, false} {
			g := &gate{name: name, deaf: true, released: make(chan struct{})}
			l := &storeLife{gate: g, store: storesBehind(g)[4], early: early, limit: 50 * time.Millisecond}
			done := make(chan struct{})
			p := l.make(t)
			go func() { // what nobody waits for may block
				defer close(done)
				g.shut.Store(early)
				began := time.Now()
				if err := l.withLimit(func(ctx context.Context) error { return p.Start(ctx, componenttest.NewNopHost()) }); err == nil {
					go l.send(p)
					g.shut.Store(true)
					go l.send(p)
					go l.forget()
					time.Sleep(20 * time.Millisecond)
				}
				_ = l.withLimit(p.Shutdown)
				assert.Less(t, time.Since(began), overtime, l)
			}()
			select {
			case <-done:
			case <-time.After(overtime):
				assert.Fail(t, "blocked", l)
			}
			close(g.released)
			<-done
		}
	}
}
