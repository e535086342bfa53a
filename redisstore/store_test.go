// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/store/storetest"
)

// testConfig returns a configuration with short periods.
func testConfig(endpoints ...string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoints = endpoints
	cfg.TLS.Insecure = true
	cfg.Timeout = time.Second
	cfg.FlushInterval = 20 * time.Millisecond
	cfg.HeartbeatInterval = 100 * time.Millisecond
	cfg.MaxBackoff = 200 * time.Millisecond
	cfg.ShutdownTimeout = 2 * time.Second
	return cfg
}

// open starts an extension, which ends with the test.
func open(t testing.TB, cfg *Config) *redisExtension {
	t.Helper()
	return openOn(t, cfg, componenttest.NewNopHost())
}

func openOn(t testing.TB, cfg *Config, host component.Host) *redisExtension {
	t.Helper()
	require.NoError(t, cfg.Validate())
	e := newExtension(extensiontest.NewNopSettings(typ), cfg)
	require.NoError(t, e.Start(t.Context(), host))
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) }) // the test has looked at what matters
	return e
}

// crash ends an extension without a last flush, as a SIGKILL does.
func (e *redisExtension) crash() {
	w := e.store.writer
	w.cancel()
	_ = w.client.Close()
	<-w.done
	e.stopChecking()
	w.numbers.hide()
	w.cancel = nil
}

// read returns the totals as one who has counted nothing sees them.
func read(t testing.TB, s *redisStore) map[string]int {
	t.Helper()
	totals := map[string]int{}
	for total, err := range s.Totals(t.Context()) {
		require.NoError(t, err)
		totals[total.Key] = total.Value
	}
	return totals
}

func TestContract(t *testing.T) {
	for name, config := range map[string]func(t *testing.T) *Config{
		"one server": func(t *testing.T) *Config { return testConfig(redistest.Start(t).Addr()) },
		"Sentinel": func(t *testing.T) *Config {
			master, replica := redistest.Start(t), redistest.Start(t)
			replica.Follow("127.0.0.1", master.Port())
			cfg := testConfig(redistest.StartSentinels(t, master)...)
			cfg.Sentinel.MasterName = redistest.MasterName
			return cfg
		},
		"Cluster": func(t *testing.T) *Config {
			cfg := testConfig(redistest.StartCluster(t).Addrs()...)
			cfg.Cluster = true
			return cfg
		},
		"one Valkey": func(t *testing.T) *Config { return testConfig(redistest.StartValkey(t).Addr()) },
		"Cluster of Valkey": func(t *testing.T) *Config {
			cfg := testConfig(redistest.StartValkeyCluster(t).Addrs()...)
			cfg.Cluster = true
			return cfg
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			storetest.Run(t, func(t *testing.T) store.MetricStore {
				own := *cfg
				own.KeyPrefix = newToken()
				return open(t, &own).store
			})
		})
	}
}

func TestWritersAddUp(t *testing.T) {
	cfg := testConfig(redistest.Start(t).Addr())
	a, b, reader := open(t, cfg).store, open(t, cfg).store, open(t, cfg).store
	a.Describe(store.Description{Metric: "m", Description: "what it is", Unit: "1", CardinalityLimit: 9})
	a.Add("k", 3)
	b.Add("k", 4)
	b.Inc("only b")
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, b.Flush(t.Context()))
	assert.Equal(t, map[string]int{"k": 7, "only b": 1}, read(t, reader))
	assert.Equal(t, 7, reader.Get("k"))
	assert.Equal(t, []store.Description{{Metric: "m", Description: "what it is", Unit: "1", CardinalityLimit: 9}}, reader.Descriptions())
	local := 0
	for total := range a.LocalTotals() {
		local += total.Value
	}
	assert.Equal(t, 3, local, "what others have counted is not listed")
}

// TestRuns: the slot has each contribution in its place, whichever keys a flush brings, and however many.
func TestRuns(t *testing.T) {
	cfg := testConfig(redistest.Start(t).Addr())
	cfg.Shards = 1
	s, want := open(t, cfg).store, map[string]int{}
	for step := 1; step <= 3*chunk; step += 1 + step/3 {
		for i := 0; i < 3*chunk; i += step {
			key := strconv.Itoa(i)
			s.Add(key, i+step)
			want[key] += i + step
		}
		require.NoError(t, s.Flush(t.Context()))
	}
	assert.Equal(t, want, read(t, s))
	slot, err := s.reader.client.Get(t.Context(), s.writer.names.flushKeys(0, s.writer.slots[0])[2]).Result()
	require.NoError(t, err)
	for i, e := range s.writer.slots[0].places {
		require.Equal(t, string(appendPlace(nil, int64(want[e.key()]), e.tenant)), slot[i*placeLength:(i+1)*placeLength], e.key())
	}
}

// TestLargeTotals: the numbers of scripts are doubles, which hold 2^53.
func TestLargeTotals(t *testing.T) {
	cfg := testConfig(redistest.Start(t).Addr())
	a, b := open(t, cfg).store, open(t, cfg).store
	want := 0
	for i, n := range []int{1, 999_999_999_999_998, 1, 1, 1<<53 - 1_000_000_000_000_001, 1, 1, 1, 1<<60 + 1, 12_345_678_901, 1} {
		s := []*redisStore{a, b}[i%2]
		s.Add("k", n)
		require.NoError(t, s.Flush(t.Context()))
		want += n
		require.Equal(t, want, s.Get("k"), "after %d", n)
	}
}

func TestMaxKeys(t *testing.T) {
	cfg := testConfig(redistest.Start(t).Addr())
	cfg.MaxKeys = 2
	s := open(t, cfg).store
	for _, key := range []string{`["m",{},{"n":1}]`, `["m",{},{"n":2}]`, `["m",{},{"n":3}]`, `["m",{},{"n":4}]`, `["m",{},{"n":1}]`} {
		s.Inc(key)
	}
	assert.Equal(t, map[string]int{
		`["m",{},{"n":1}]`: 2, `["m",{},{"n":2}]`: 1, `["m",{},{"otel.metric.overflow":true}]`: 2,
	}, read(t, s))
}
