// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
)

// scriptCalls returns how often the server was asked to run the script.
func scriptCalls(t testing.TB, s *redistest.Server) (calls int) {
	t.Helper()
	for _, found := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+)`).FindAllStringSubmatch(s.CLI("INFO", "commandstats"), -1) {
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		calls += n
	}
	return calls
}

// within returns a context that ends after d.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// countWhile adds to keys one after the other, some every pause, until stop is called.
func countWhile(s *redisStore, keys, burst int, pause time.Duration) (stop func() (sum int)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	sum := 0
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i += 7 {
			for j := range burst {
				s.Add(loadKey((i+j)%keys), 3)
				sum += 3
			}
			time.Sleep(pause)
		}
	})
	return func() int {
		cancel()
		running.Wait()
		return sum
	}
}

// A flush under load ends, however far away the server is, and takes one round of calls as long as a chunk of each
// shard is enough: what is counted meanwhile is for the next.
func TestFlushesFromFarAway(t *testing.T) {
	server := redistest.Start(t)
	random := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(4, 100) {
		proxy := faultproxy.Start(t, server.Addr(), random.Uint64())
		delay := time.Duration(random.IntN(8_000)) * time.Microsecond
		proxy.Delay(delay, delay/4)
		cfg := testConfig(proxy.Addr())
		cfg.FlushInterval, cfg.HeartbeatInterval = time.Duration(20+random.IntN(200))*time.Millisecond, time.Minute
		cfg.KeyPrefix, cfg.Shards = newToken(), 1+random.IntN(24)
		testFlushesUnderLoad(t, server, cfg, 1+random.IntN(chunk), 1+random.IntN(50))
	}
}

func testFlushesUnderLoad(t *testing.T, server *redistest.Server, cfg *Config, keys, burst int) {
	t.Logf("%d shards, flushed every %v, %d keys, %d at once", cfg.Shards, cfg.FlushInterval, keys, burst)
	e := open(t, cfg)
	server.CLI("CONFIG", "RESETSTAT")
	stop := countWhile(e.store, keys, burst, 500*time.Microsecond)
	for range 5 {
		ctx, cancel := within(20 * time.Second)
		require.NoError(t, e.store.writer.flushNow(ctx))
		for _, err := range e.store.Totals(ctx) {
			require.NoError(t, err)
		}
		cancel()
	}
	sum := stop()
	calls := scriptCalls(t, server)
	flushes := int(e.store.writer.numbers.flushes.Load()) + 1 // one may be under way
	require.LessOrEqual(t, calls, (flushes+2)*cfg.Shards+10, "the first finds no generation, and maybe no script")
	require.NoError(t, e.Shutdown(context.Background()))
	own := *cfg
	got, err := sumOf(t.Context(), open(t, &own).store)
	require.NoError(t, err)
	require.EqualValues(t, sum, got)
}

// A writer that is silent for much longer than the server remembers it, whatever the reason, says so once, and counts
// on.
func TestFault_redis_silent_for_long(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.WriterExpiry, cfg.HeartbeatInterval = 200*time.Millisecond, 100*time.Millisecond
	core, lines := observer.New(zap.WarnLevel)
	set := extensiontest.NewNopSettings(typ)
	set.Logger = zap.New(core)
	e := newExtension(set, cfg)
	require.NoError(t, e.Start(t.Context(), newWatcher()))
	defer func() { _ = e.Shutdown(context.Background()) }()
	want := 0
	rounds := evidence.Rounds(2, 20)
	for range rounds {
		for i := range 200 {
			e.store.Add(strconv.Itoa(i), i)
			want += i
		}
		ctx, cancel := within(20 * time.Second)
		require.NoError(t, e.store.Flush(ctx))
		cancel()
		server.Pause()
		time.Sleep(writerExpiries*cfg.WriterExpiry + 500*time.Millisecond)
		server.Continue()
	}
	ctx, cancel := within(20 * time.Second)
	defer cancel()
	server.CLI("CONFIG", "RESETSTAT")
	require.NoError(t, e.store.Flush(ctx))
	assert.Less(t, scriptCalls(t, server), 10*cfg.Shards)
	got, err := sumOf(ctx, open(t, testConfig(server.Addr())).store)
	require.NoError(t, err)
	require.EqualValues(t, want, got)
	assert.Len(t, lines.FilterMessage(messages[eventExpired]).All(), 1, "one line for all shards")
	evidence.Report(t, evidence.Figure{
		Rows: []int{49, 55}, Claim: "a server that hangs for longer than writers are remembered: exact", Rounds: rounds,
		Fired: int(e.store.writer.numbers.copy(e.store.writer.numbers.events)["expired"]), Counts: got,
	})
}

// A server that is in another state at each flush is not asked without end: the flush fails, and that is told.
func TestUpsetServer(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards, cfg.MaxBackoff = 4, time.Hour
	s := open(t, cfg).store
	s.Add("a", 1)
	require.NoError(t, s.Flush(t.Context()))
	wiping := &eachReply{do: func() { server.CLI("FLUSHALL") }}
	s.writer.client.AddHook(wiping)
	wiping.on.Store(true)
	server.CLI("FLUSHALL")
	s.Add("a", 1)
	require.ErrorIs(t, s.Flush(t.Context()), errUnstable)
	assert.LessOrEqual(t, wiping.fired.Load(), int64(6*(maxStateChanges+2)), "within the patience of a request there are some attempts")
	assert.Positive(t, s.writer.numbers.unsentSeconds())
	wiping.on.Store(false)
	ctx, cancel := within(10 * time.Second)
	defer cancel()
	require.NoError(t, s.writer.flushBy(ctx, true))
	assert.Equal(t, 2, open(t, cfg).store.Get("a"))
}

// knocks is a server that takes connections and closes them at once.
func knocks(t *testing.T) (addr string, count *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	count = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), count
}

// Whoever asks for totals, flushes or descriptions of a server that fails, and however often, gets an error, and no
// further attempt is made for it: max_backoff holds.
func TestBackoffHoldsForRequests(t *testing.T) {
	t.Cleanup(awaitLibrary)
	addr, count := knocks(t)
	cfg := testConfig(addr)
	cfg.MaxBackoff = time.Second
	s := open(t, cfg).store
	s.Add("a", 1)
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		require.Error(t, s.Flush(t.Context()))
		ctx, cancel := within(10 * time.Millisecond)
		assert.Error(t, s.Flush(ctx))
		cancel()
		failed := false
		for _, err := range s.Totals(t.Context()) {
			failed = err != nil
		}
		assert.True(t, failed)
		assert.Equal(t, 1, s.Get("a"))
		s.Descriptions()
	}
	// 0, 0.1, 0.3, 0.7, 1.5, 2.5 s, and scattered by a quarter; besides, the settings of the server are asked for once.
	assert.LessOrEqual(t, count.Load(), int64(16))
}

// A reader that finds the server gone makes the next flush ask, also when there is nothing to send: from then on the
// back-off holds.
func TestReadersBackOff(t *testing.T) {
	t.Cleanup(awaitLibrary)
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 64)
	cfg := testConfig(proxy.Addr())
	cfg.HeartbeatInterval, cfg.MaxBackoff = time.Hour, time.Hour
	cfg.WriterExpiry = 24 * time.Hour
	host := newWatcher()
	s := openOn(t, cfg, host).store
	s.Add("a", 1)
	require.NoError(t, s.Flush(t.Context()))
	addr, count := knocks(t)
	proxy.Target(addr)
	for range 100 {
		failed := false
		for _, err := range s.Totals(t.Context()) {
			failed = err != nil
		}
		require.True(t, failed)
		time.Sleep(10 * time.Millisecond)
	}
	assert.Equal(t, componentstatus.StatusRecoverableError, (<-host.events).Status())
	assert.Less(t, count.Load(), int64(50))
}

// A server that is not there, or does not let us in, is known when the extension starts, also when nothing is counted;
// and when it is back as well.
func TestServerIsAskedAtStart(t *testing.T) {
	t.Cleanup(awaitLibrary)
	server := redistest.Start(t)
	for name, c := range map[string]struct{ begin, end func() }{
		"wrong password": {
			begin: func() { server.CLI("CONFIG", "SET", "requirepass", "secret") },
			end:   func() { server.CLI("-a", "secret", "--no-auth-warning", "CONFIG", "SET", "requirepass", "") },
		},
		"not there": {begin: server.Kill, end: server.Restart},
		"no permission": {
			begin: func() { server.CLI("ACL", "SETUSER", "default", "-@all", "+acl", "+ping") },
			end:   func() { server.CLI("ACL", "SETUSER", "default", "+@all") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.begin()
			core, lines := observer.New(zap.ErrorLevel)
			set := extensiontest.NewNopSettings(typ)
			set.Logger = zap.New(core)
			cfg := testConfig(server.Addr())
			cfg.Password = configopaque.String("wrong")
			if name != "wrong password" {
				cfg.Password = ""
			}
			e, host := newExtension(set, cfg), newWatcher()
			require.NoError(t, e.Start(t.Context(), host), "counting does not need the server")
			defer func() { assert.NoError(t, e.Shutdown(context.Background())) }()
			assert.Equal(t, componentstatus.StatusRecoverableError, (<-host.events).Status())
			require.NotEmpty(t, lines.All())
			assert.Contains(t, lines.All()[0].Message, "server")
			assert.NotZero(t, e.store.writer.numbers.unsentSeconds())
			c.end()
			for (<-host.events).Status() != componentstatus.StatusOK { // failures of other classes may come between
			}
		})
	}
}

// What a reader does not wait for cannot come later: the settle time is longer than any writer is silent.
func TestSettleTimeCoversEverySilence(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		period := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(r, name))
		}
		cfg := createDefaultConfig().(*Config)
		cfg.FlushInterval, cfg.HeartbeatInterval = period("flush_interval"), period("heartbeat_interval")
		cfg.MaxBackoff, cfg.Timeout = period("max_backoff"), period("timeout")
		settle := newReader(cfg, nil, time.Time{}).settle
		assert.GreaterOrEqual(r, settle, cfg.HeartbeatInterval+2*cfg.FlushInterval)
		assert.GreaterOrEqual(r, settle, cfg.MaxBackoff+4*cfg.Timeout+cfg.FlushInterval, "an attempt, the wait after it, and another")
	})
}

// TestFault_redis_settling: a server is wiped while a writer waits for its next attempt. Until that is back, nobody
// lists the totals as complete.
func TestFault_redis_settling(t *testing.T) {
	t.Cleanup(awaitLibrary)
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 66)
	cfg := testConfig(proxy.Addr())
	cfg.MaxBackoff, cfg.Timeout = 2*time.Second, 200*time.Millisecond
	own := *cfg
	own.Endpoints = []string{server.Addr()}
	a, b, reader := open(t, cfg).store, open(t, &own).store, open(t, &own).store
	a.Add("k", 1000)
	require.NoError(t, a.Flush(t.Context()))
	b.Add("k", 1)
	require.NoError(t, b.Flush(t.Context()))
	require.Equal(t, map[string]int{"k": 1001}, read(t, reader))
	proxy.Target("127.0.0.1:1")
	require.Eventually(t, func() bool { return a.writer.numbers.copy(a.writer.numbers.failures)["connection"] >= 6 }, 20*time.Second, time.Millisecond,
		"the waits have grown")
	proxy.Target(server.Addr())
	server.CLI("FLUSHALL")
	unsettled := 0
	for {
		require.NoError(t, b.Flush(t.Context()))
		got := map[string]int{}
		var failed error
		for total, err := range reader.Totals(t.Context()) {
			if failed = err; err == nil {
				got[total.Key] = total.Value
			}
		}
		if _, listed := got["k"]; listed {
			require.Equal(t, map[string]int{"k": 1001}, got)
			break
		}
		unsettled++
		require.ErrorIs(t, failed, errUnsettled, fmt.Sprint(got))
		time.Sleep(20 * time.Millisecond)
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{52, 55}, Claim: "a writer that backs off finds a wiped server late: no total is listed before it is complete", Rounds: 1, Fired: unsettled, Counts: 1001,
	})
}

// A server that has lost the totals has lost the descriptions of the metrics as well: they come back with them.
func TestDescriptionsComeBack(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	s := open(t, cfg).store
	s.Describe(store.Description{Metric: "m", Unit: "By"})
	s.Add("a", 1)
	require.NoError(t, s.Flush(t.Context()))
	server.CLI("FLUSHALL")
	s.Add("a", 1)
	require.NoError(t, s.Flush(t.Context()))
	require.NoError(t, s.Flush(t.Context()))
	assert.Equal(t, s.Descriptions(), open(t, cfg).store.Descriptions())
}

// eachReply is a hook that does something after each pipeline, while it is on.
type eachReply struct {
	redis.Hook
	do    func()
	on    atomic.Bool
	fired atomic.Int64
}

func (h *eachReply) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *eachReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *eachReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if h.on.Load() {
			h.fired.Add(1)
			h.do()
		}
		return err
	}
}

// A clean end leaves nothing on the server to compare with, as nobody comes back to it; the totals stay. With `storage`
// the next process goes on from it, so there it stays, and so it does where something is unsent.
func TestSlotsOfThoseWhoLeave(t *testing.T) {
	server := redistest.Start(t)
	random := evidence.Random(evidence.Seed(t))
	want := map[string]int{}
	live := func(cfg *Config, host component.Host) {
		e := openOn(t, cfg, host)
		for range 1 + random.IntN(3) {
			for range random.IntN(50) {
				key := strconv.Itoa(random.IntN(30))
				e.store.Add(key, 5)
				want[key] += 5
			}
			if random.IntN(2) == 0 {
				require.NoError(t, e.store.Flush(t.Context()))
			}
		}
		require.NoError(t, e.Shutdown(t.Context()))
	}
	for range evidence.Rounds(20, 1000) {
		live(testConfig(server.Addr()), newWatcher())
	}
	assert.Empty(t, server.CLI("KEYS", "*:writer:*"))
	assert.Equal(t, want, read(t, open(t, testConfig(server.Addr())).store))

	d := newDisk()
	for range 5 {
		live(keptConfig(server.Addr()), d)
	}
	assert.NotEmpty(t, server.CLI("KEYS", "*:writer:*"))
	last := openOn(t, keptConfig(server.Addr()), d)
	assert.Equal(t, want, read(t, last.store))
	assert.Empty(t, last.store.writer.numbers.copy(last.store.writer.numbers.events), "it goes on where the one before has ended")
}
