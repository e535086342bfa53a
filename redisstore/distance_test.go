// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
)

// distance is how far away servers are in the tests of real events, each way.
const distance = 5 * time.Millisecond

// away returns a proxy that makes addr be so far away, and up to half as much more by chance.
func away(t testing.TB, addr string, by time.Duration) *faultproxy.Proxy {
	t.Helper()
	p := faultproxy.Start(t, addr, evidence.Seed(t))
	p.Delay(by, by/2)
	return p
}

// openWatched is open that returns what the extension tells: lines of its log from warnings on, and its status.
func openWatched(t *testing.T, cfg *Config) (*redisExtension, *observer.ObservedLogs, *watcher) {
	t.Helper()
	require.NoError(t, cfg.Validate())
	core, lines := observer.New(zap.WarnLevel)
	set := extensiontest.NewNopSettings(typ)
	set.Logger = zap.New(core)
	e, host := newExtension(set, cfg), newWatcher()
	require.NoError(t, e.Start(t.Context(), host))
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) }) // the test has looked at what matters
	return e, lines, host
}

// countAll adds to all keys every pause, and waits for nothing, until stop is called.
func countAll(s *redisStore, keys []string, pause time.Duration) (stop func() (sum int64)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	sum := int64(0)
	running.Go(func() {
		for ctx.Err() == nil {
			for _, key := range keys {
				s.Add(key, 3)
			}
			sum += int64(3 * len(keys))
			time.Sleep(pause)
		}
	})
	return func() int64 {
		cancel()
		running.Wait()
		return sum
	}
}

// loadKeys returns each so-manieth of n keys.
func loadKeys(n, every int) (keys []string) {
	for i := 0; i < n; i += every {
		keys = append(keys, loadKey(i))
	}
	return keys
}

// pipelines is a hook that counts the round trips of a writer.
type pipelines struct {
	redis.Hook
	count atomic.Int64
}

func (h *pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") { // not those which look at the server's settings
			h.count.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (h *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.count.Add(1)
		return next(ctx, cmds)
	}
}

// A flush ends while others count, however far away the server is: it takes as many round trips as the longest shard
// has chunks.
func TestFarRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	random := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(5, 100) {
		proxy := away(t, server.Near(), time.Duration(random.IntN(10_000))*time.Microsecond)
		cfg := quiet(testConfig(proxy.Addr()))
		cfg.KeyPrefix, cfg.Shards = newToken(), 1+random.IntN(20)
		keys := loadKeys(1+random.IntN(6*chunk), 1)
		t.Run(fmt.Sprintf("%d shards, %d keys", cfg.Shards, len(keys)), func(t *testing.T) { testRoundTrips(t, server, cfg, keys) })
	}
}

func testRoundTrips(t *testing.T, server *redistest.Server, cfg *Config, keys []string) {
	e := open(t, cfg)
	most := make([]int, cfg.Shards)
	for _, key := range keys {
		e.store.Add(key, 1)
		most[shardOf(key, cfg.Shards)]++
	}
	ctx, cancel := within(time.Minute)
	defer cancel()
	require.NoError(t, e.store.Flush(ctx))
	trips := 0
	for _, n := range most {
		trips = max(trips, (n+chunk-1)/chunk)
	}
	hook := &pipelines{}
	e.store.writer.client.AddHook(hook)
	stop := countAll(e.store, keys, 100*time.Microsecond)
	for range 5 {
		before := hook.count.Load()
		require.NoError(t, e.store.writer.flushNow(ctx))
		assert.LessOrEqual(t, hook.count.Load()-before, int64(trips))
	}
	_, err := server.TryCLI("SCRIPT", "FLUSH")
	require.NoError(t, err)
	before := hook.count.Load()
	require.NoError(t, e.store.writer.flushNow(ctx))
	assert.LessOrEqual(t, hook.count.Load()-before, int64(trips+1), "the server has forgotten the script")
	want := stop() + int64(len(keys))
	require.NoError(t, e.Shutdown(ctx))
	own := *cfg
	got, err := sumOf(ctx, open(t, &own).store)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func settings() extension.Settings { return extensiontest.NewNopSettings(typ) }

// An attempt ends after twice the timeout, also when the server hangs after its first answer and there is more to send:
// the script again, and descriptions. Readers rely on that.
func TestFarAttemptEnds(t *testing.T) {
	server := redistest.Start(t)
	cfg := quiet(testConfig(away(t, server.Near(), distance).Addr()))
	cfg.Timeout, cfg.ShutdownTimeout = 2*time.Second, 100*time.Millisecond
	s := open(t, cfg).store
	s.Inc("a")
	require.NoError(t, s.Flush(t.Context()))
	server.CLI("SCRIPT", "FLUSH")
	hanging := &eachReply{do: sync.OnceFunc(server.Pause)}
	hanging.on.Store(true)
	s.writer.client.AddHook(hanging)
	defer server.Continue()
	s.Inc("a")
	s.Describe(store.Description{Metric: "m"})
	began := time.Now()
	ctx, cancel := within(time.Minute)
	defer cancel()
	require.Error(t, s.writer.request(ctx, true))
	assert.Less(t, time.Since(began), attemptTimeouts*cfg.Timeout+cfg.Timeout/2)
}
