// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconnector/internal/metadata"
)

func readConfig(t *testing.T, yaml string) (*Config, error) {
	t.Helper()
	path := t.TempDir() + "/config.yaml"
	require.NoError(t, os.WriteFile(path, []byte(yaml), 0o600))
	conf, err := confmaptest.LoadConf(path)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := conf.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

// start starts a connector as the Collector would: on the caller's host, with what it needs to stop it.
func start(t *testing.T, yaml string, host component.Host, next consumer.Metrics) connector.Logs {
	t.Helper()
	cfg, err := readConfig(t, yaml)
	require.NoError(t, err)
	c, err := NewFactory().CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), host))
	return c
}

func logs(n int) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		records.AppendEmpty().Attributes().PutInt("parity", int64(i%2))
	}
	ld.MarkReadOnly()
	return ld
}

// last returns the value of the last point, and how many points there are, in all that a sink got.
func last(sink *consumertest.MetricsSink) (value int64, points int) {
	for _, metrics := range sink.AllMetrics() {
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range m.Sum().DataPoints().All() {
					value = p.IntValue()
					points++
				}
			}
		}
	}
	return value, points
}

func TestEmitsEveryIntervalAndALastTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.MetricsSink)
		c := start(t, `flush_interval: 10s`, componenttest.NewNopHost(), sink)
		time.Sleep(time.Second)
		require.NoError(t, c.ConsumeLogs(t.Context(), logs(5)))
		synctest.Wait()
		assert.Empty(t, sink.AllMetrics())
		time.Sleep(10 * time.Second)
		value, points := last(sink)
		assert.EqualValues(t, 5, value)
		assert.Equal(t, 2, points, "the first behind a zero point")
		require.NoError(t, c.ConsumeLogs(t.Context(), logs(3)))
		require.NoError(t, c.Shutdown(t.Context()))
		value, points = last(sink)
		assert.EqualValues(t, 8, value, "what was pending at shutdown is there")
		assert.Equal(t, 3, points)
		require.NoError(t, c.Shutdown(t.Context()), "twice")
		require.Error(t, c.ConsumeLogs(t.Context(), logs(1)))
	})
}

// A metrics pipeline that fails for a minute, by an error or by a panic, loses nothing, whether totals or deltas are
// sent.
func TestFailingMetricsPipeline(t *testing.T) {
	for _, fail := range []func() error{func() error { return errors.New("away") }, func() error { panic("away") }} {
		testFailingMetricsPipeline(t, fail)
	}
}

func testFailingMetricsPipeline(t *testing.T, fail func() error) {
	for _, temporality := range []string{"cumulative", "delta"} {
		t.Run(temporality, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := new(consumertest.MetricsSink)
				var away atomic.Bool
				var failures atomic.Int64
				next, _ := consumer.NewMetrics(func(ctx context.Context, m pmetric.Metrics) error {
					if away.Load() {
						failures.Add(1)
						return fail()
					}
					return sink.ConsumeMetrics(ctx, m)
				})
				c := start(t, "{flush_interval: 10s, temporality: "+temporality+"}", componenttest.NewNopHost(), next)
				for second := range 120 {
					away.Store(second >= 20 && second < 80)
					require.NoError(t, c.ConsumeLogs(t.Context(), logs(1)))
					time.Sleep(time.Second)
				}
				require.NoError(t, c.Shutdown(t.Context()))
				assert.GreaterOrEqual(t, failures.Load(), int64(5), "it has failed for a minute")
				assert.EqualValues(t, 120, received(t, sink, temporality == "delta"))
			})
		})
	}
}

// received adds the deltas up, whose intervals must be chained, or returns the last total, which must never fall.
func received(t *testing.T, sink *consumertest.MetricsSink, delta bool) int64 {
	t.Helper()
	var sum int64
	var end time.Time
	for _, metrics := range sink.AllMetrics() {
		m := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
		for _, p := range m.Sum().DataPoints().All() {
			if !delta {
				assert.GreaterOrEqual(t, p.IntValue(), sum)
				sum = p.IntValue()
				continue
			}
			if !end.IsZero() {
				assert.Equal(t, end, p.StartTimestamp().AsTime())
			}
			end = p.Timestamp().AsTime()
			sum += p.IntValue()
		}
	}
	return sum
}

// sharedStore is a store extension.
type sharedStore struct {
	component.StartFunc
	component.ShutdownFunc
	store store.MetricStore
}

func (s sharedStore) MetricStore() store.MetricStore { return s.store }

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

// A private store drops a key: its series ends, the connector's metric has the rest, and it comes back from zero.
func TestStaleAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.MetricsSink)
		c := start(t, `{flush_interval: 10s, stale_after: 20s, forget_after: 1m}`, componenttest.NewNopHost(), sink)
		require.NoError(t, c.ConsumeLogs(t.Context(), logs(5)))
		time.Sleep(2*time.Minute + time.Second) // between two flushes
		require.NoError(t, c.ConsumeLogs(t.Context(), logs(3)))
		require.NoError(t, c.Shutdown(t.Context()))
		var got []string
		var starts []time.Time
		for _, metrics := range sink.AllMetrics() {
			for _, p := range metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
				value := fmt.Sprint(p.IntValue())
				if p.Flags().NoRecordedValue() {
					value = "end"
				}
				got = append(got, value)
				starts = append(starts, p.StartTimestamp().AsTime())
			}
		}
		assert.Equal(t, []string{"0", "5", "5", "end", "0", "3"}, got)
		assert.True(t, starts[4].After(starts[3]), "a new series")
	})
}

func TestSharedStore(t *testing.T) {
	store := tallyprocessor.NewMemoryStore()
	store.Inc(`["somebody.else",{},{}]`)
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("shared"): sharedStore{store: store}}}
	sink := new(consumertest.MetricsSink)
	c := start(t, `store: shared`, h, sink)
	require.NoError(t, c.ConsumeLogs(t.Context(), logs(5)))
	require.NoError(t, c.Shutdown(t.Context()))
	assert.Equal(t, 5, store.Get(`["log.record.count",{"service.name":"checkout"},{}]`))
	value, points := last(sink)
	assert.EqualValues(t, 5, value)
	assert.Equal(t, 2, points, "its own metric alone")
}

func TestStoreIsNotThere(t *testing.T) {
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("other"): componenttestNop{}}}
	for id, want := range map[string]error{"missing": store.ErrNotFound, "other": store.ErrNotAStore} {
		cfg, err := readConfig(t, "store: "+id)
		require.NoError(t, err)
		c, err := NewFactory().CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		err = c.Start(t.Context(), h)
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, id)
		require.NoError(t, c.Shutdown(t.Context()))
	}
}

type componenttestNop struct {
	component.StartFunc
	component.ShutdownFunc
}

// Changing the word `count` to `tally` is enough.
func TestTakesACountConnectorsLogsSection(t *testing.T) {
	cfg, err := readConfig(t, `
logs:
  my.logrecord.count:
    description: My description.
    conditions: ['attributes["env"] == "dev"']
    attributes:
      - key: env
        default_value: unspecified_environment`)
	require.NoError(t, err)
	assert.Equal(t, []string{"my.logrecord.count"}, cfg.Tally.config().MetricNames())
}

// What the telemetry page of the Collector could not show, and a key that is a glob in the processor, are nothing
// special here.
func TestLikeCount(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	c := start(t, `
temporality: delta
logs:
  otelcol_x: {}
  target_info: {}
  a b: {}
  a_b: {}
  日本: {attributes: [{key: "x*", default_value: [1]}, {key: "x*"}]}`, host{}, sink)
	require.NoError(t, c.ConsumeLogs(t.Context(), logs(3)))
	require.NoError(t, c.Shutdown(t.Context()))
	require.Len(t, sink.AllMetrics(), 1)
	assert.Equal(t, 5, sink.AllMetrics()[0].MetricCount())
	for _, m := range sink.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		p := m.Sum().DataPoints().At(0)
		assert.EqualValues(t, 3, p.IntValue(), m.Name())
		if m.Name() == "日本" {
			assert.Equal(t, map[string]any{"x*": "[1]"}, p.Attributes().AsRaw())
		}
	}
}

func TestMistakes(t *testing.T) {
	for yaml, want := range map[string][]string{
		`flush_interval: 0s`:                    {"`flush_interval` is 0s"},
		`flush_interval: -1s`:                   {"`flush_interval` is -1s"},
		`temporality: gauge`:                    {"gauge"},
		`spans: {}`:                             {"`spans` is unknown: tally counts logs only; keep a `count` connector for `spans` beside it"},
		`{spanz: {}, queue: {queue_size: 0}}`:   {"`spanz` is unknown", "`queue::queue_size` is 0"},
		`stale_after: -1s`:                      {"`stale_after` is -1s: must not be negative"},
		`stale_after: 1s`:                       {"`stale_after` is 1s: must not be shorter than `flush_interval`, which is 15s"},
		`{stale_after: 1h, temporality: delta}`: {"`stale_after` is 1h0m0s", "cumulative"},
		`{stale_after: 1h, forget_after: 30m}`:  {"`stale_after` is 1h0m0s", "`forget_after`", "30m0s"},
		`{flush_interval: 0s, temporality: gauge, queue: {queue_size: 0}, logs: {m: {conditions: [nonsense]}}}`: {
			"`flush_interval` is 0s", "gauge", "`queue::queue_size` is 0", "`logs::m::conditions::0`",
		},
		`{flush_interval: 0s, queue: {queue_size: 0}}`: {"`flush_interval` is 0s", "`queue::queue_size` is 0"},
	} {
		_, err := readConfig(t, yaml)
		require.Error(t, err, yaml)
		for _, text := range want {
			assert.ErrorContains(t, err, text)
		}
	}
}

// A metrics pipeline that blocks holds Shutdown no longer than its deadline says, or `shutdown_timeout`: whether it
// blocks the emission before or the last one, and whether it heeds its context or not.
func TestShutdownDeadline(t *testing.T) {
	for _, deaf := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			for _, deadline := range []time.Duration{0, 200 * time.Millisecond} {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					var blocked atomic.Bool
					blocked.Store(before)
					next, _ := consumer.NewMetrics(func(ctx context.Context, _ pmetric.Metrics) error {
						switch {
						case !blocked.Load():
							return nil
						case deaf:
							<-release
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					})
					c := start(t, "{flush_interval: 10s, shutdown_timeout: 3s}", componenttest.NewNopHost(), next)
					require.NoError(t, c.ConsumeLogs(t.Context(), logs(5)))
					time.Sleep(15 * time.Second)
					blocked.Store(true)
					ctx, want := t.Context(), 3*time.Second
					if deadline > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, deadline)
						defer cancel()
						want = deadline
					}
					began := time.Now()
					require.ErrorIs(t, c.Shutdown(ctx), context.DeadlineExceeded)
					assert.Equal(t, want, time.Since(began))
					close(release)
					synctest.Wait()
				})
			}
		}
	}
}

// A metric that can have one key only is emitted as 0 before its first record.
func TestZeroBeforeTheFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.MetricsSink)
		c := start(t, "{flush_interval: 10s, resource_attributes: [], logs: {errors: {conditions: ['body == \"x\"']}}}", componenttest.NewNopHost(), sink)
		time.Sleep(15 * time.Second)
		value, points := last(sink)
		assert.Zero(t, value)
		assert.Equal(t, 1, points)
		require.NoError(t, c.Shutdown(t.Context()))
	})
}

// Its own metrics are a connector's: where a processor has the same id, each balance is its own.
func TestOwnMetricsNameTheConnector(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	cfg, err := readConfig(t, `logs: {c: {}}`)
	require.NoError(t, err)
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID, set.TelemetrySettings = component.NewID(metadata.Type), telemetry.NewTelemetrySettings()
	c, err := NewFactory().CreateLogsToMetrics(t.Context(), set, cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, c.ConsumeLogs(t.Context(), logs(3)))
	require.NoError(t, c.Shutdown(t.Context()))
	m, err := telemetry.GetMetric("otelcol_processor_tally_records_counted")
	require.NoError(t, err)
	points := m.Data.(metricdata.Sum[int64]).DataPoints
	require.Len(t, points, 1)
	assert.Equal(t, attribute.NewSet(attribute.String("connector", "tally"), attribute.String("metric", "c")), points[0].Attributes)
	assert.EqualValues(t, 3, points[0].Value)
	require.NoError(t, telemetry.Shutdown(context.Background()))
}
