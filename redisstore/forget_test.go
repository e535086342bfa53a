// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/redisstore/internal/metadatatest"
	"github.com/logtally/tallyprocessor/store"
)

// forgetConfig returns a configuration with a `forget_after` that a test can wait for.
func forgetConfig(endpoint string) *Config {
	cfg := testConfig(endpoint)
	cfg.Shards, cfg.ForgetAfter = 2, time.Second
	return cfg
}

func podKey(n int) string { return fmt.Sprintf(`["m",{},{"pod":%d}]`, n) }

// localSum returns what a process lists and what it says is forgotten.
func localSum(s *redisStore) (sum int) {
	for total := range s.LocalTotals() {
		sum += total.Value
	}
	for _, f := range s.Forgotten() {
		sum += f.Total
	}
	return sum
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 20*time.Millisecond, what)
}

// What nobody counts is dropped, in the totals and in each process that has counted it. What one of them counts stays.
func TestForgetting(t *testing.T) {
	cfg := forgetConfig(redistest.Start(t).Addr())
	a, b := open(t, cfg), open(t, cfg)
	for i := range 50 {
		a.store.Add(podKey(i), 3)
		b.store.Add(podKey(i+25), 4)
	}
	require.NoError(t, a.store.Flush(t.Context()))
	require.NoError(t, b.store.Flush(t.Context()))
	counted := 4 * 50
	eventually(t, func() bool {
		b.store.Add(podKey(30), 1)
		counted++
		require.NoError(t, b.store.Flush(t.Context()))
		return len(a.store.local.totalsByKey()) == 1 && len(b.store.local.totalsByKey()) == 1
	}, "idle keys are dropped, and that of which another counts more stays")
	assert.Equal(t, map[string]int{podKey(30): 7 + counted - 200}, read(t, b.store))
	assert.Equal(t, map[string]capability.Forgotten{"m": {Keys: 49, Total: 147}}, a.store.Forgotten())
	assert.Equal(t, map[string]capability.Forgotten{"m": {Keys: 49, Total: 196}}, b.store.Forgotten())
	assert.Equal(t, 150, localSum(a.store))
	assert.Equal(t, counted, localSum(b.store))
	assert.EqualValues(t, 74, a.store.writer.numbers.keysDropped.Load()+b.store.writer.numbers.keysDropped.Load(), "each is dropped once")
	assert.EqualValues(t, 1, a.store.local.keys.Load())
}

func (l *local) totalsByKey() map[string]int {
	totals := map[string]int{}
	for total := range l.totals() {
		totals[total.Key] = total.Value
	}
	return totals
}

// A key that another process has dropped begins anew when it is counted, whether this process forgets or not, and no
// reader waits; also when the server has forgotten the process besides.
func TestForgottenKeyComesBack(t *testing.T) {
	for name, alsoWriter := range map[string]bool{"key": false, "key and writer": true} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			cfg := quiet(testConfig(server.Addr()))
			cfg.Shards = 1
			s := open(t, cfg).store
			counter := s.Bind(podKey(1))
			counter.Add(5, time.Time{})
			s.Add(podKey(2), 6)
			require.NoError(t, s.Flush(t.Context()))
			first := totalOf(t, s, podKey(1))
			server.CLI("EVAL", "redis.call('HDEL', KEYS[1], ARGV[1], '#' .. redis.call('HGET', KEYS[1], ARGV[1]))", "1", "{tally:0}:totals", ":"+podKey(1))
			assert.Equal(t, map[string]int{podKey(2): 6}, read(t, s))
			if alsoWriter {
				server.CLI("DEL", s.writer.names.flushKeys(0, s.writer.slots[0])[2])
			}
			for !s.Now().After(first.Start.Add(time.Millisecond)) {
			}
			require.True(t, counter.Add(7, time.Time{}))
			s.Add(podKey(2), 1)
			require.NoError(t, s.Flush(t.Context()))
			assert.Equal(t, map[string]int{podKey(1): 7, podKey(2): 7}, read(t, s))
			again := totalOf(t, s, podKey(1))
			assert.True(t, again.Start.After(first.Start))
			assert.Equal(t, map[string]capability.Forgotten{"m": {Keys: 1, Total: 5}}, s.Forgotten())
			assert.Equal(t, 19, localSum(s))
			events := s.writer.numbers.copy(s.writer.numbers.events)
			delete(events, string(eventExpired))
			assert.Empty(t, events, "that is no loss")

			server.CLI("FLUSHALL")
			s.Add(podKey(2), 1)
			require.NoError(t, s.Flush(t.Context()))
			assert.Equal(t, 7, s.Get(podKey(1)), "what is forgotten is not brought back")
			assert.Equal(t, 8, s.Get(podKey(2)))
		})
	}
}

func totalOf(t *testing.T, s *redisStore, key string) store.Total {
	for total, err := range s.Totals(t.Context()) {
		require.NoError(t, err)
		if total.Key == key {
			return total
		}
	}
	require.Fail(t, "no total", key)
	return store.Total{}
}

// The sums of what is forgotten are kept with the state, beside what is not, and so is which places are free.
func TestForgottenIsKept(t *testing.T) {
	server := redistest.Start(t)
	d := newDisk()
	cfg := forgetConfig(server.Addr())
	cfg.Storage = &diskID
	telemetry := componenttest.NewTelemetry()
	e := newExtension(metadatatest.NewSettings(telemetry), cfg)
	require.NoError(t, e.Start(t.Context(), d))
	for i := range 20 {
		e.store.Add(podKey(i), 2)
	}
	eventually(t, func() bool {
		e.store.Add(podKey(0), 1)
		return e.store.Forgotten()["m"].Keys == 19
	}, "all but one are dropped")
	sum := localSum(e.store)
	id := attribute.NewSet(attribute.String("extension", e.settings.ID.String()), attribute.String("metric", "m"))
	metadatatest.AssertEqualExtensionTallyRedisKeysForgotten(t, telemetry,
		[]metricdata.DataPoint[int64]{{Attributes: id, Value: 19}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionTallyRedisSumForgotten(t, telemetry,
		[]metricdata.DataPoint[int64]{{Attributes: id, Value: 38}}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, e.Shutdown(t.Context()))

	cfg.ForgetAfter = 0
	next := openOn(t, cfg, d)
	assert.Equal(t, map[string]capability.Forgotten{"m": {Total: 38}}, next.store.Forgotten())
	assert.Equal(t, sum, localSum(next.store))
	require.NoError(t, next.store.Flush(t.Context()))
	assert.Equal(t, map[string]int{podKey(0): sum - 38}, read(t, next.store), "what was dropped does not come back, not even as 0")
	next.store.Add(podKey(5), 9)
	require.NoError(t, next.store.Flush(t.Context()))
	assert.Equal(t, map[string]int{podKey(0): sum - 38, podKey(5): 9}, read(t, next.store))
	places := 0
	for _, s := range next.store.writer.slots {
		places += len(s.places)
	}
	assert.Equal(t, 20, places, "a place is used again")
}

// A reader ends the series of a key that is dropped, and begins it anew when it comes back.
func TestForgottenSeriesEnds(t *testing.T) {
	cfg := forgetConfig(redistest.Start(t).Addr())
	e := open(t, cfg)
	reader, err := emit.NewReader(e.store, emit.Settings{ID: "tally"})
	require.NoError(t, err)
	collect := func() (ends int, values, starts []int64) {
		c, err := reader.Collect(t.Context())
		require.NoError(t, err)
		sink := new(consumertest.MetricsSink)
		require.NoError(t, c.Send(t.Context(), sink))
		for _, metrics := range sink.AllMetrics() {
			for _, rm := range metrics.ResourceMetrics().All() {
				for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
					for _, p := range m.Sum().DataPoints().All() {
						if p.Flags().NoRecordedValue() {
							ends++
							continue
						}
						values, starts = append(values, p.IntValue()), append(starts, p.StartTimestamp().AsTime().UnixMilli())
					}
				}
			}
		}
		return ends, values, starts
	}
	e.store.Add(podKey(1), 5)
	_, values, before := collect()
	require.EqualValues(t, 5, values[len(values)-1])
	ended := 0
	eventually(t, func() bool {
		ends, _, _ := collect()
		ended += ends
		return ended == 1
	}, "the series ends")
	ends, values, _ := collect()
	require.Zero(t, ends)
	require.Empty(t, values)
	e.store.Add(podKey(1), 3)
	_, values, starts := collect()
	assert.Equal(t, []int64{0, 3}, values)
	assert.Greater(t, starts[0], before[0])

	_, err = emit.NewReader(e.store, emit.Settings{StaleAfter: time.Hour})
	assert.ErrorIs(t, err, emit.ErrForgetsFirst)
}

// Ids are used again when four billion have been, but none that a key has.
func TestIDsBeginOnceMore(t *testing.T) {
	server := redistest.Start(t)
	cfg := quiet(testConfig(server.Addr()))
	cfg.Shards = 1
	s := open(t, cfg).store
	want := map[string]int{}
	count := func(from, to int) {
		for i := from; i < to; i++ {
			s.Add(podKey(i), i+1)
			want[podKey(i)] += i + 1
		}
		require.NoError(t, s.Flush(t.Context()))
		require.Equal(t, want, read(t, s))
	}
	count(0, 10)
	server.CLI("HSET", "{tally:0}:totals", "i", "4294967290")
	count(5, 40)
	count(0, 60)
}

// Keys are dropped and come back while they are listed: no listing fails, or has a key twice, or a total that never
// was.
func TestListingWhileKeysAreDropped(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 1
	s, reader := open(t, cfg).store, open(t, quiet(testConfig(server.Addr()))).store
	reader.reader.shards = make([]shardView, 1)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { require.NoError(t, client.Close()) }()
	again := redis.NewScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id then
  local record = redis.call('HGET', KEYS[1], '#' .. id)
  redis.call('HDEL', KEYS[1], ARGV[1], '#' .. id)
  if ARGV[2] ~= '0' then
    id = struct.pack('>I4', redis.call('HINCRBY', KEYS[1], 'i', 1))
    redis.call('HSET', KEYS[1], ARGV[1], id, '#' .. id, record)
  end
end`)
	const keys = 3000
	for i := range keys {
		s.Add(podKey(i), 1)
	}
	require.NoError(t, s.Flush(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	var dropping sync.WaitGroup
	dropping.Go(func() {
		for ctx.Err() == nil {
			key := ":" + podKey(rand.IntN(keys))
			_ = again.Run(ctx, client, []string{"{tally:0}:totals"}, key, rand.IntN(10)).Err() // of the end
			s.Add(key[1:], 1)
		}
	})
	defer func() { cancel(); dropping.Wait() }()
	for range evidence.Rounds(20, 500) {
		seen := map[string]bool{}
		for total, err := range reader.reader.totals(t.Context()) {
			require.NoError(t, err)
			require.False(t, seen[total.Key], total.Key)
			seen[total.Key] = true
		}
		_, err := reader.reader.get(t.Context(), podKey(rand.IntN(keys)))
		require.NoError(t, err)
	}
}

// A server that moves fields lists some twice; one that was dropped and came back in between has another id then, of
// after the listing began.
func TestListingHasAKeyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := func(n int) string { return string(appendNumber(nil, uint64(n), idLength)) }
		live := rapid.IntRange(1, 200).Draw(t, "keys")
		var fields []string
		for n := range live {
			fields = append(fields, ":"+podKey(n), id(n+1))
		}
		last := live
		listed, seen := idSet{}, map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "pages") {
			keys, recordFields, err := newKeys(listed, fields, uint64(live))
			require.NoError(t, err)
			require.Len(t, recordFields, len(keys))
			for _, key := range keys {
				require.False(t, seen[key], key)
				seen[key] = true
			}
			for n := range live {
				if rapid.IntRange(0, 3).Draw(t, "comes back") == 0 {
					last++
					fields[2*n+1] = id(last)
				}
			}
		}
		require.Len(t, seen, live)
	})
}

// What no script says is an error, and changes nothing.
func TestWrongAnswersOfForgetting(t *testing.T) {
	l := newLocal(1, 10)
	s := newSlot(&l.shards[0])
	l.add("a", 3)
	s.collect()
	f := s.next()
	for _, numbers := range []string{"", "\x00\x00\x00\x00", "\x00\x00\x00\x02", "\x00\x00\x00\x01"} {
		_, err := s.settle(f, answer{status: statusForgotten, ids: numbers})
		require.ErrorIs(t, err, errWrongAnswer, "%q", numbers)
		assert.Same(t, f, s.next())
		assert.EqualValues(t, 3, s.unsent())
	}
	for _, reply := range []any{nil, "0", []any{"0"}, []any{"0", "0"}, []any{int64(0), int64(0)}, []any{"x", int64(0)}, []any{"0", int64(1), int64(2)}} {
		sw := sweep{cursor: "7"}
		_, err := sw.swept(reply)
		require.ErrorIs(t, err, errWrongAnswer, "%v", reply)
		assert.Equal(t, "7", sw.cursor)
	}
	for _, reply := range []any{nil, int64(1), []any{int64(0), int64(0)}} {
		_, err := parseMissing([]*entry{{}}, reply)
		require.ErrorIs(t, err, errWrongAnswer, "%v", reply)
	}
	gone, err := parseMissing([]*entry{{}}, []any{})
	require.NoError(t, err)
	assert.Empty(t, gone, "the server is in another state")
}

// A server that refuses to sweep takes counts all the same, and the log says so once.
func TestForgettingIsRefused(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("ACL", "SETUSER", "default", "-hscan")
	core, lines := observer.New(zap.WarnLevel)
	set := extensiontest.NewNopSettings(typ)
	set.Logger = zap.New(core)
	e := newExtension(set, forgetConfig(server.Addr()))
	require.NoError(t, e.Start(t.Context(), newWatcher()))
	refused := func() int { return lines.FilterMessageSnippet("does not let keys be forgotten").Len() }
	for n := 1; refused() == 0 || n < 100; n++ {
		e.store.Add(podKey(1), 1)
		require.NoError(t, e.store.Flush(t.Context()))
		time.Sleep(10 * time.Millisecond)
		require.Less(t, n, 1000)
	}
	require.Equal(t, 1, refused())
	require.Empty(t, e.store.writer.numbers.copy(e.store.writer.numbers.failures))
	require.NoError(t, e.Shutdown(t.Context()))
}
