// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

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

var storeID = component.MustNewID("shared")

func newReceiver(t *testing.T, temporality emit.Temporality, next consumer.Metrics) receiver.Metrics {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Store = &storeID
	cfg.Temporality = temporality
	cfg.InitialDelay = 0
	require.NoError(t, cfg.Validate())
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type) // which is of its own at each call
	r, err := NewFactory().CreateMetrics(t.Context(), set, cfg, next)
	require.NoError(t, err)
	return r
}

func hostWith(store store.MetricStore) host {
	return host{componenttest.NewNopHost(), map[component.ID]component.Component{storeID: sharedStore{store: store}}}
}

const key = `["log.record.count",{"service.name":"checkout"},{}]`

// points returns every point that a sink got, in order.
func points(sink *consumertest.MetricsSink) (list []pmetric.NumberDataPoint) {
	for _, metrics := range sink.AllMetrics() {
		for _, rm := range metrics.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range m.Sum().DataPoints().All() {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

func TestReadsEveryIntervalAndALastTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		sink := new(consumertest.MetricsSink)
		r := newReceiver(t, emit.Cumulative, sink)
		require.NoError(t, r.Start(t.Context(), hostWith(store)))
		time.Sleep(5 * time.Second)
		store.Add(key, 5)
		time.Sleep(6 * time.Second)
		got := points(sink)
		require.Len(t, got, 2)
		assert.EqualValues(t, 0, got[0].IntValue())
		assert.EqualValues(t, 5, got[1].IntValue())
		assert.Equal(t, got[0].StartTimestamp(), got[1].StartTimestamp())
		store.Add(key, 1)
		require.NoError(t, r.Shutdown(t.Context()))
		got = points(sink)
		require.Len(t, got, 3)
		assert.EqualValues(t, 6, got[2].IntValue())
		require.NoError(t, r.Shutdown(t.Context()), "twice")
	})
}

// A metrics pipeline that fails for a minute, by an error or by a panic, loses nothing.
func TestFailingMetricsPipeline(t *testing.T) {
	for _, fail := range []func() error{func() error { return errors.New("away") }, func() error { panic("away") }} {
		testFailingMetricsPipeline(t, fail)
	}
}

func testFailingMetricsPipeline(t *testing.T, fail func() error) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		sink := new(consumertest.MetricsSink)
		var away atomic.Bool
		next, _ := consumer.NewMetrics(func(ctx context.Context, m pmetric.Metrics) error {
			if away.Load() {
				return fail()
			}
			return sink.ConsumeMetrics(ctx, m)
		})
		r := newReceiver(t, emit.Delta, next)
		require.NoError(t, r.Start(t.Context(), hostWith(store)))
		for second := range 120 {
			away.Store(second >= 20 && second < 80)
			store.Inc(key)
			time.Sleep(time.Second)
		}
		require.NoError(t, r.Shutdown(t.Context()))
		var sum int64
		for _, p := range points(sink) {
			sum += p.IntValue()
		}
		assert.EqualValues(t, 120, sum)
	})
}

func TestStoreIsNotThere(t *testing.T) {
	for name, tt := range map[string]struct {
		host component.Host
		want error
	}{
		"missing":     {componenttest.NewNopHost(), store.ErrNotFound},
		"not a store": {host{componenttest.NewNopHost(), map[component.ID]component.Component{storeID: nop{}}}, store.ErrNotAStore},
		"not listed":  {hostWith(smallest{}), emit.ErrNotListed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, emit.Cumulative, consumertest.NewNop())
			err := r.Start(t.Context(), tt.host)
			require.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, storeID.String())
			require.NoError(t, r.Shutdown(t.Context()))
		})
	}
}

type nop struct {
	component.StartFunc
	component.ShutdownFunc
}

type smallest struct{}

func (smallest) Inc(string)     {}
func (smallest) Get(string) int { return 0 }

func TestMistakes(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.ErrorIs(t, cfg.Validate(), errNoStore)
	cfg.CollectionInterval = 0
	cfg.Temporality = "gauge"
	err := cfg.Validate()
	require.ErrorIs(t, err, errNoStore)
	assert.ErrorContains(t, err, "collection_interval")
	assert.ErrorContains(t, err, "gauge")
	cfg.CollectionInterval = -time.Second
	assert.ErrorContains(t, cfg.Validate(), "collection_interval")
}

func TestStaleAfterMistakes(t *testing.T) {
	for _, tt := range []struct {
		staleAfter  time.Duration
		temporality emit.Temporality
		want        string
	}{
		{-time.Second, emit.Cumulative, "`stale_after` is -1s: must not be negative"},
		{time.Second, emit.Cumulative, "`stale_after` is 1s: must not be shorter than `collection_interval`, which is 10s"},
		{time.Hour, emit.Delta, "`stale_after` is 1h0m0s: needs `temporality: cumulative`"},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Store, cfg.StaleAfter, cfg.Temporality = &storeID, tt.staleAfter, tt.temporality
		assert.ErrorContains(t, cfg.Validate(), tt.want)
	}
}

func TestStoreForgetsBeforeItsSeriesEnds(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Store, cfg.StaleAfter = &storeID, time.Hour
	r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	err = r.Start(t.Context(), hostWith(memory.New(memory.WithForgetAfter(time.Minute))))
	require.ErrorIs(t, err, emit.ErrForgetsFirst)
	assert.ErrorContains(t, err, storeID.String())
	require.NoError(t, r.Shutdown(t.Context()))
}

// awayStore is a store whose server is away.
type awayStore struct{ *memory.Store }

func (awayStore) Totals(context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		yield(store.Total{}, errors.New("nobody answers"))
	}
}

// A store that cannot be read for long does not fill the log.
func TestUnreadStoreIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		set := receivertest.NewNopSettings(metadata.Type)
		set.Logger = zap.New(core)
		cfg := createDefaultConfig().(*Config)
		cfg.Store, cfg.CollectionInterval = &storeID, time.Second
		r, err := NewFactory().CreateMetrics(t.Context(), set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), hostWith(awayStore{memory.New()})))
		time.Sleep(10 * time.Minute)
		require.Error(t, r.Shutdown(t.Context()))
		told := lines.FilterMessage("Some totals could not be read").Len()
		assert.GreaterOrEqual(t, told, 9)
		assert.LessOrEqual(t, told, 11)
	})
}
