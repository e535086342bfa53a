// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/memorystore"
	"github.com/logtally/tallyprocessor/redisstore"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconnector"
	"github.com/logtally/tallyprocessor/tallyconsole"
	"github.com/logtally/tallyprocessor/tallyreceiver"
)

var (
	storeID   = component.MustNewID("store")
	storageID = component.MustNewID("storage")
)

// subject is a component and how it meets its neighbors.
type subject struct {
	make            func(t *testing.T, n *neighbors) (component.Component, error)
	start, shutdown time.Duration // its own deadlines, where the Collector gives none
	real            bool          // it has sockets, so it runs in real time
	meets           []string      // the calls it makes, where time is real; nil = any
	used            func(t *testing.T, n *neighbors, c component.Component)
}

func tallyConfig(durable bool) *tallyprocessor.Config {
	cfg := tallyprocessor.NewFactory().CreateDefaultConfig().(*tallyprocessor.Config)
	cfg.Store, cfg.Durable = &storeID, durable
	return cfg
}

func processorOn(durable bool, options ...tallyprocessor.Option) func(t *testing.T, n *neighbors) (component.Component, error) {
	return func(t *testing.T, n *neighbors) (component.Component, error) {
		cfg := tallyConfig(durable)
		if len(options) > 0 {
			cfg.Store = nil
		}
		f := tallyprocessor.NewFactory(options...)
		return f.CreateLogs(t.Context(), processortest.NewNopSettings(f.Type()), cfg, n.nextLogs())
	}
}

// send sends a few batches without a deadline, as the processor `batch` does, and waits for no answer.
func send(_ *testing.T, _ *neighbors, c component.Component) {
	for range 3 {
		ld := plog.NewLogs()
		ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		go func() { _ = c.(consumer.Logs).ConsumeLogs(context.Background(), ld) }()
		time.Sleep(10 * time.Millisecond)
	}
}

// subjects are all components.
var subjects = map[string]subject{
	"processor":           {make: processorOn(false), start: 30 * time.Second, shutdown: 5 * time.Second, used: send},
	"processor, durable":  {make: processorOn(true), start: 30 * time.Second, shutdown: 5 * time.Second, used: send},
	"processor, injected": {make: injected, start: 30 * time.Second, shutdown: 5 * time.Second, used: send},
	"connector": {
		start: 30 * time.Second, shutdown: 5 * time.Second, used: send,
		make: func(t *testing.T, n *neighbors) (component.Component, error) {
			f := tallyconnector.NewFactory()
			cfg := f.CreateDefaultConfig().(*tallyconnector.Config)
			cfg.Tally.Store, cfg.FlushInterval = &storeID, time.Second
			return f.CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(f.Type()), cfg, n.nextMetrics())
		},
	},
	"receiver": {
		start: 30 * time.Second, shutdown: 5 * time.Second, used: func(_ *testing.T, n *neighbors, _ component.Component) {
			if n.g.name != "Inc" {
				n.store.Inc(`["m",{},{}]`)
			}
			if n.g.name != "Counter.Add" { // of which a receiver knows nothing: there the time is real
				time.Sleep(20 * time.Second)
			}
		},
		make: func(t *testing.T, n *neighbors) (component.Component, error) {
			f := tallyreceiver.NewFactory()
			cfg := f.CreateDefaultConfig().(*tallyreceiver.Config)
			cfg.Store = &storeID
			return f.CreateMetrics(t.Context(), receivertest.NewNopSettings(f.Type()), cfg, n.nextMetrics())
		},
	},
	"tally_memory": {
		start: 30 * time.Second, shutdown: 10 * time.Second, used: func(_ *testing.T, _ *neighbors, c component.Component) {
			c.(tallyprocessor.StoreExtension).MetricStore().Inc(`["m",{},{}]`)
			time.Sleep(2500 * time.Millisecond)
			c.(tallyprocessor.StoreExtension).MetricStore().Inc(`["m",{},{}]`)
		},
		make: func(t *testing.T, _ *neighbors) (component.Component, error) {
			f := memorystore.NewFactory()
			cfg := f.CreateDefaultConfig().(*memorystore.Config)
			cfg.Storage = &storageID
			return makeExtension(t, f, cfg)
		},
	},
	"tally_redis": {
		start: 30 * time.Second, shutdown: 400 * time.Millisecond, real: true, meets: []string{"nothing", "GetClient", "Batch", "Close"},
		used: func(_ *testing.T, _ *neighbors, c component.Component) {
			c.(tallyprocessor.StoreExtension).MetricStore().Inc(`["m",{},{}]`)
			time.Sleep(50 * time.Millisecond)
		},
		make: func(t *testing.T, n *neighbors) (component.Component, error) {
			f := redisstore.NewFactory()
			cfg := f.CreateDefaultConfig().(*redisstore.Config)
			cfg.Endpoints, cfg.TLS.Insecure = []string{silentServer(t)}, true
			cfg.FlushInterval, cfg.ShutdownTimeout, cfg.Timeout = 10*time.Millisecond, 400*time.Millisecond, time.Hour
			if slices.Contains([]string{"GetClient", "Batch", "Close"}, n.g.name) {
				cfg.Storage = &storageID
			}
			return makeExtension(t, f, cfg)
		},
	},
	"tally_console": {
		start: 30 * time.Second, shutdown: time.Second, real: true, meets: []string{"nothing", "Totals", "Descriptions"},
		used: func(*testing.T, *neighbors, component.Component) {
			time.Sleep(50 * time.Millisecond) // some samples
		},
		make: func(t *testing.T, _ *neighbors) (component.Component, error) {
			f := tallyconsole.NewFactory()
			cfg := f.CreateDefaultConfig().(*tallyconsole.Config)
			cfg.Store, cfg.Server.NetAddr.Endpoint, cfg.SampleInterval = storeID, "127.0.0.1:0", 5*time.Millisecond
			return makeExtension(t, f, cfg)
		},
	},
}

func injected(t *testing.T, n *neighbors) (component.Component, error) {
	return processorOn(false, tallyprocessor.WithMetricStore(n.store))(t, n)
}

func makeExtension(t *testing.T, f extension.Factory, cfg component.Config) (component.Component, error) {
	return f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
}

// silentServer takes connections and says nothing.
func silentServer(t *testing.T) (address string) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return listener.Addr().String()
}

// calls are what a neighbor may block in, and the stores that have such a call.
var calls = []struct {
	name  string
	store func(plainStore) store.MetricStore
}{
	{"nothing", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Inc", func(s plainStore) store.MetricStore { return durable{s} }},
	{"Totals", func(s plainStore) store.MetricStore { return fullStore{s} }},
	{"Add", func(s plainStore) store.MetricStore { return fullStore{s} }},
	{"Bind", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Counter.Add", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Flush", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Claim", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Describe", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Descriptions", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"ConsumeLogs", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"ConsumeMetrics", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"GetClient", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Batch", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
	{"Close", func(s plainStore) store.MetricStore { return boundStore{fullStore{s}} }},
}

// durable is a plain store that keeps its totals.
type durable struct{ plainStore }

func (durable) Flush(context.Context) error { return nil }
func (durable) Info() store.Info            { return store.Info{Durable: true} }

// overtime is what a component may take beyond a deadline, where real time passes: other work on the machine is no
// fault.
const overtime = 10 * time.Second

// grace is what a component may take beyond a deadline by the clock of a test: for what a store must not do, such as to
// block in Counter.Add.
const grace = 300 * time.Millisecond

// TestFault_lifecycle_blocked_neighbors: whatever a neighbor blocks in, before Start or later, heeding its context or
// deaf to it: Start and Shutdown of each component end at the Collector's deadline, or at their own where it gives
// none, and nothing goes on when the neighbor is back.
func TestFault_lifecycle_blocked_neighbors(t *testing.T) {
	rounds, fired := 0, 0
	longest := map[string]time.Duration{}
	for name, s := range subjects {
		for _, call := range calls {
			for _, deaf := range []bool{true, false} {
				for _, early := range []bool{true, false} {
					for _, limit := range []time.Duration{0, 200 * time.Millisecond} {
						if s.meets != nil && !slices.Contains(s.meets, call.name) || s.real && early && limit == 0 && (call.name == "Batch" || call.name == "GetClient") {
							continue // 30 s of real time; tally_memory shows it
						}
						b := blocked{subject: s, gate: &gate{name: call.name, deaf: deaf}, early: early, limit: limit}
						if call.name == "Counter.Add" { // its callers hold locks, which stop the clock of a test
							if limit == 0 || name == "receiver" || name == "tally_memory" {
								continue
							}
							b.real = true
						}
						rounds++
						what := fmt.Sprintf("%s, blocked in %s, deaf %t, early %t, deadline %v", name, call.name, deaf, early, limit)
						in := func(t *testing.T) {
							b.gate.released = make(chan struct{}) // of the bubble, if there is one
							n := &neighbors{g: b.gate, store: call.store(plainStore{b.gate, tallyprocessor.NewMemoryStore()})}
							started, shutdown := b.run(t, n, what)
							if started+shutdown > 0 {
								fired++
							}
							if limit == 0 {
								longest[name+" Start"] = max(longest[name+" Start"], started)
								longest[name+" Shutdown"] = max(longest[name+" Shutdown"], shutdown)
							}
						}
						if b.real {
							in(t)
						} else {
							synctest.Test(t, in)
						}
					}
				}
			}
		}
	}
	var notes []string
	for what, took := range longest {
		notes = append(notes, fmt.Sprintf("%s %v", what, took.Round(100*time.Millisecond)))
	}
	slices.Sort(notes)
	evidence.Report(t, evidence.Figure{
		Rows: []int{6, 23, 25, 44, 50}, Claim: "each component beside each neighbor that blocks: Start and Shutdown end at the Collector's deadline, or at their own where it gives none",
		Rounds: rounds, Unit: "pairs", Fired: fired, Note: "longest without a deadline: " + strings.Join(notes, ", "),
	})
}

// blocked is one life of a component.
type blocked struct {
	subject
	gate  *gate
	early bool          // the neighbor blocks from the beginning
	limit time.Duration // the Collector's deadline; 0 = it gives none
}

// run starts and shuts down, and returns how long both took.
func (b *blocked) run(t *testing.T, n *neighbors, what string) (started, shutdown time.Duration) {
	c, err := b.make(t, n)
	require.NoError(t, err, what)
	b.gate.shut.Store(b.early)
	started = b.timed(t, what+": Start", b.start, func(ctx context.Context) { err = c.Start(ctx, n) })
	if err == nil {
		if !b.early {
			b.used(t, n, c)
		}
		b.gate.shut.Store(true)
		b.useBlocked(t, n, c)
	}
	shutdown = b.timed(t, what+": Shutdown", b.shutdown, func(ctx context.Context) { _ = c.Shutdown(ctx) })
	close(b.gate.released)
	if !b.real {
		synctest.Wait()
	}
	return started, shutdown
}

// useBlocked uses the component while the neighbor blocks; whoever does it need not come back.
func (b *blocked) useBlocked(t *testing.T, n *neighbors, c component.Component) {
	go b.used(t, n, c)
	if b.real {
		time.Sleep(100 * time.Millisecond)
		return
	}
	time.Sleep(time.Minute)
}

func (b *blocked) timed(t *testing.T, what string, own time.Duration, f func(context.Context)) time.Duration {
	ctx, want := context.Background(), own
	if b.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.limit)
		defer cancel()
		want = b.limit
	}
	most := want + grace
	if b.real {
		most = want + overtime
	}
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	select {
	case <-done:
	case <-time.After(most + time.Minute):
		assert.Fail(t, "blocked", what)
		close(b.gate.released)
		<-done
		b.gate.released = make(chan struct{})
	}
	took := time.Since(began)
	assert.LessOrEqual(t, took, most, what)
	return took
}
