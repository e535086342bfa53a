// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

func pods(numbers ...int) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, n := range numbers {
		records.AppendEmpty().Attributes().PutInt("pod", int64(n))
	}
	return logs
}

type storeHost struct {
	component.Host
	store component.Component
}

func (h storeHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.NewID(typ): h.store}
}

// countingIn returns a running processor that counts by pod in a store.
func countingIn(t *testing.T, e *redisExtension, limit int) processor.Logs {
	factory := tallyprocessor.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyprocessor.Config)
	id := component.NewID(typ)
	cfg.Store = &id
	cfg.Logs = map[string]tallyprocessor.MetricConfig{"m": {
		CardinalityLimit: &limit, Attributes: []tallyprocessor.AttributeConfig{{Key: "pod"}},
	}}
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), storeHost{componenttest.NewNopHost(), e}))
	return p
}

// A processor's limit is free again for other keys, and so is the store's; a key that comes back while it is dropped is
// counted once.
func TestForgettingFreesTheLimits(t *testing.T) {
	const limit = 5
	for name, limits := range map[string]struct{ cardinality, maxKeys int }{
		"cardinality_limit": {limit, 1000}, "max_keys": {1000, limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := forgetConfig(redistest.Start(t).Addr())
			cfg.MaxKeys = limits.maxKeys
			e := open(t, cfg)
			p := countingIn(t, e, limits.cardinality)
			counted := 0
			consume := func(numbers ...int) {
				require.NoError(t, p.ConsumeLogs(t.Context(), pods(numbers...)))
				counted += len(numbers)
			}
			random := rand.New(rand.NewPCG(evidence.Seed(t), 0))
			for wave := range 3 {
				first := wave * 100
				consume(first, first+1, first+2, first+3, first+4)
				eventually(t, func() bool { return e.store.local.totalsByKey()[podKey(first+4)] == 1 }, "all have their own keys")
				consume(first+5, first+6)
				eventually(t, func() bool { return localSum(e.store) == counted }, "all is counted")
				require.Len(t, e.store.local.totalsByKey(), limit+1, "with that of overflow")
				eventually(t, func() bool {
					if random.IntN(20) == 0 {
						consume(first)
					}
					return len(e.store.local.totalsByKey()) <= 1
				}, "they are dropped, while one comes back again and again")
				eventually(t, func() bool { return len(e.store.local.totalsByKey()) == 0 }, "also that one")
			}
			require.NoError(t, p.Shutdown(t.Context()))
			require.NoError(t, e.store.Flush(t.Context()))
			assert.Equal(t, counted, e.store.Forgotten()["m"].Total)
			assert.Empty(t, read(t, e.store))
		})
	}
}

// A key that is counted under an overflow key for lack of room has a place in the processor's limit, which is free
// again as well.
func TestForgettingFreesTheLimitsOfKeysWithoutRoom(t *testing.T) {
	const limit = 5
	cfg := forgetConfig(redistest.Start(t).Addr())
	cfg.MaxKeys = limit
	e := open(t, cfg)
	for i := range limit {
		e.store.Add(podKey(100+i), 1) // somebody else's
	}
	p := countingIn(t, e, limit)
	require.NoError(t, p.ConsumeLogs(t.Context(), pods(0, 1, 2, 3, 4)))
	overflow := `["m",{},{"otel.metric.overflow":true}]`
	eventually(t, func() bool { return e.store.local.totalsByKey()[overflow] == limit }, "there is no room")
	eventually(t, func() bool { return len(e.store.local.totalsByKey()) == 0 }, "all are dropped")
	eventually(t, func() bool { return e.store.local.aliases.len() == 0 }, "with what is known of keys without room")
	require.NoError(t, p.ConsumeLogs(t.Context(), pods(10, 11, 12, 13, 14)))
	require.NoError(t, p.ConsumeLogs(t.Context(), pods(10, 11, 12, 13, 14)))
	require.NoError(t, p.Shutdown(t.Context()))
	assert.Equal(t, map[string]int{podKey(10): 2, podKey(11): 2, podKey(12): 2, podKey(13): 2, podKey(14): 2}, e.store.local.totalsByKey())
}

func (l *aliases) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byKey)
}

// A server whose memory is full of keys that nobody counts has room again when they are dropped.
func TestForgettingFreesMemory(t *testing.T) {
	for name, server := range map[string]*redistest.Server{"redis": redistest.Start(t), "valkey": redistest.StartValkey(t)} {
		t.Run(name, func(t *testing.T) {
			e := open(t, forgetConfig(server.Addr()))
			for i := range 20_000 {
				e.store.Add(podKey(i), 1)
			}
			require.NoError(t, e.store.Flush(t.Context()))
			used, err := strconv.Atoi(infoField(server.CLI("INFO", "memory"), "used_memory"))
			require.NoError(t, err)
			server.CLI("CONFIG", "SET", "maxmemory", strconv.Itoa(used*7/10))
			e.store.Add(podKey(-1), 1)
			require.ErrorContains(t, e.store.writer.flushNow(t.Context()), "OOM")
			eventually(t, func() bool { // without a flush of ours, which would wait for the server, and let no sweep be
				total, err := e.store.reader.get(t.Context(), podKey(-1))
				return err == nil && total == 1
			}, "it is taken")
		})
	}
}

// However many keys come and go, the totals, the slot and the process have as much as lives at a time, and a process
// that counts on keeps its total.
func TestFloodOfKeys(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2})
	defer func() { require.NoError(t, client.Close()) }()
	left := evidence.Rounds(3, 50)
	rapid.Check(t, func(t *rapid.T) {
		if left--; left < 0 {
			return // it takes a second or two each time
		}
		f := &fleet{
			t: t, client: client, names: names{newToken()}, copied: map[string]int64{}, clock: time.Now(), fired: map[string]int{},
			chronicle: newChronicle(),
		}
		f.writers = []*modelWriter{f.newWriter(), f.newWriter()}
		perStep := rapid.IntRange(1, 60).Draw(t, "keys at a time")
		const steps = 20 * sweeps
		made := 0
		for range steps {
			for i, w := range f.writers {
				for range perStep {
					w.local.add(podKey(made), 1)
					made++
				}
				w.local.add(podKey(-1), 1)
				w.local.add(podKey(-2-i), 1)
				f.exchange(w, false, rapid.IntRange(0, 9).Draw(t, "no reply") == 0)
				f.ask(w)
			}
			f.silence(t, modelInterval)
			f.sweep(t)
			live := len(f.writers) * (perStep*(sweeps+2) + 2)
			require.LessOrEqual(t, len(f.totals()), live)
		}
		for _, w := range f.writers {
			f.flush(w)
			most := (perStep+2)*(sweeps+3) + 1 // an answer may be lost
			require.LessOrEqual(t, len(w.slot.places), 2*most)
			require.LessOrEqual(t, len(w.local.totalsByKey()), 2*most)
			bytes, err := client.StrLen(t.Context(), f.names.slot(0, w.slot.name, w.slot.generation)).Result()
			require.NoError(t, err)
			require.LessOrEqual(t, int(bytes), placeLength*len(w.slot.places))
			require.Zero(t, w.local.overflowed.Load(), "there was room for %d keys", made)
		}
		totals := f.totals()
		require.EqualValues(t, 2*steps, totals[podKey(-1)])
		require.EqualValues(t, steps, totals[podKey(-2)])
	})
}

// TestFault_redis_forgetting_under_load: writers count keys that come, go and come back, while replies get lost. Each
// has all that it has counted, in what it lists or in what is forgotten, and what they list together is what the server
// has.
func TestFault_redis_forgetting_under_load(t *testing.T) {
	server := redistest.Start(t)
	random := evidence.Random(evidence.Seed(t))
	proxy := faultproxy.Start(t, server.Addr(), random.Uint64())
	proxy.DropReplies(0.05)
	cfg := forgetConfig(proxy.Addr())
	cfg.Timeout = 100 * time.Millisecond
	var writers []*redisStore
	var counts []func() int
	for range 3 {
		s := open(t, cfg).store
		writers = append(writers, s)
		for range 2 {
			counts = append(counts, countInWaves(s, random.Uint64()))
		}
	}
	time.Sleep(time.Duration(evidence.Rounds(6, 120)) * time.Second)
	sum := 0
	for _, stop := range counts {
		sum += stop()
	}
	proxy.DropReplies(0)
	got, forgotten := 0, 0
	for _, s := range writers {
		require.NoError(t, s.Flush(timeout(t, 10*time.Second)))
		got += localSum(s)
		forgotten += s.Forgotten()["m"].Keys
	}
	require.Equal(t, sum, got)
	require.Positive(t, forgotten)
	eventually(t, func() bool { // idle keys are still known here for a while after they are dropped there
		listed := map[string]int{}
		for _, s := range writers {
			for key, n := range s.local.totalsByKey() {
				listed[key] += n
			}
		}
		return len(listed) > 0 && maps.Equal(listed, read(t, writers[0]))
	}, "the server has what they list")
	evidence.Report(t, evidence.Figure{
		Rows: []int{49, 52}, Claim: "keys are forgotten and come back under load, while replies get lost: exact", Unit: "rounds", Rounds: 1,
		Fired: int(proxy.Dropped()), Counts: int64(sum), Note: fmt.Sprintf("%d times a key was forgotten", forgotten),
	})
}

// countInWaves counts keys some of which come back after they were forgotten, until stop is called.
func countInWaves(s *redisStore, seed uint64) (stop func() (sum int)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	sum := 0
	running.Go(func() {
		random := rand.New(rand.NewPCG(seed, 0))
		for began := time.Now(); ctx.Err() == nil; time.Sleep(time.Millisecond) {
			wave := int(time.Since(began) / (300 * time.Millisecond))
			n := 1 + random.IntN(3)
			s.Add(podKey(wave%7*20+random.IntN(20)), n)
			sum += n
		}
	})
	return func() int {
		cancel()
		running.Wait()
		return sum
	}
}
