// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/store/storetest"
)

// TestFault_redis_far_migration: shards of a Cluster move from node to node, key by key, while writers count: what is
// asked for in between is half here and half there.
func TestFault_redis_far_migration(t *testing.T) {
	t.Setenv(redistest.DistanceVariable, distance.String())
	cluster := redistest.StartCluster(t)
	cfg := testConfig(cluster.Addrs()...)
	cfg.Cluster, cfg.Shards = true, 4
	a, b := open(t, cfg).store, open(t, cfg).store
	l := startLoad(t, open(t, cfg).store, false)
	l.count(a)
	l.count(b)
	masters := cluster.Masters()
	random := evidence.Random(evidence.Seed(t))
	moves := evidence.Rounds(4, 100)
	for i := range moves {
		key := a.writer.names.totals(i % cfg.Shards)
		from := cluster.Holder(key)
		to := masters[random.IntN(len(masters))]
		for to == from {
			to = masters[random.IntN(len(masters))]
		}
		cluster.MoveSlotOf(key, from, to, func() { time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) })
	}
	asked := 0
	for _, s := range masters {
		asked += refusals(s, "ASK") + refusals(s, "TRYAGAIN")
	}
	l.settle(a, b)
	evidence.Report(t, evidence.Figure{
		Rows: []int{54}, Claim: "slots of a Cluster move key by key, 5 ms away, under load: exact", Unit: "moves", Rounds: moves, Fired: asked,
		Counts: l.bounds.Summary().Attempted, Note: l.bounds.Summary().String(),
	})
}

// refusals returns how many errors of a kind a server has answered with.
func refusals(s *redistest.Server, kind string) int {
	found := regexp.MustCompile(`errorstat_` + kind + `:count=(\d+)`).FindStringSubmatch(s.CLI("INFO", "errorstats"))
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1]) // digits
	return n
}

// awaitOK waits until the server takes the counts.
func awaitOK(t *testing.T, host *watcher) {
	t.Helper()
	awaitEvent(t, host, func(e *componentstatus.Event) bool { return e.Status() == componentstatus.StatusOK })
}

// awaitError waits for an error with this text in the status.
func awaitError(t *testing.T, host *watcher, text string) {
	t.Helper()
	awaitEvent(t, host, func(e *componentstatus.Event) bool {
		return e.Status() == componentstatus.StatusRecoverableError && strings.Contains(e.Err().Error(), text)
	})
}

func awaitEvent(t *testing.T, host *watcher, isWanted func(*componentstatus.Event) bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case e := <-host.events:
			if isWanted(e) {
				return
			}
		case <-late:
			require.Fail(t, "the status does not come")
		}
	}
}

// assertTold checks that a line of the log has all of these words.
func assertTold(t *testing.T, lines *observer.ObservedLogs, words ...string) {
	t.Helper()
	var all []string
	for _, line := range lines.All() {
		text := fmt.Sprint(line.Message, line.ContextMap())
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			return
		}
		all = append(all, text)
	}
	assert.Fail(t, "no line has all words", "%q in %q", words, all)
}

// TestFault_redis_far_password: the password of the fleet changes as operators change one: both hold for a while,
// Collectors with the new one come, the old one goes, and those that have it and connect again are told so. It comes
// back, and so do they: all is exact.
func TestFault_redis_far_password(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(append([]string{"ACL", "SETUSER", "tally"}, aclRule...)...) // its password is `secret`
	proxy := away(t, server.Near(), distance)
	with := func(password string) *Config {
		cfg := testConfig(proxy.Addr())
		cfg.Username, cfg.Password = "tally", configopaque.String(password)
		return cfg
	}
	old, lines, host := openWatched(t, with("secret"))
	l := startLoad(t, open(t, testConfig(server.Near())).store, false)
	l.count(old.store)
	rounds := evidence.Rounds(2, 20)
	stores := []*redisStore{old.store}
	for i := range rounds {
		password := fmt.Sprintf("new-%d", i)
		server.CLI("ACL", "SETUSER", "tally", ">"+password)
		joined := open(t, with(password)).store
		l.count(joined)
		stores = append(stores, joined)
		time.Sleep(100 * time.Millisecond)
		server.CLI("ACL", "SETUSER", "tally", "<secret")
		proxy.Cut() // those who are in stay in, till their connection ends
		awaitError(t, host, "WRONGPASS")
		late, told, itsHost := openWatched(t, with("secret"))
		late.store.Add(`["m",{},{"n":0}]`, 7)
		l.bounds.Attempt(7)
		stores = append(stores, late.store)
		awaitError(t, itsHost, "WRONGPASS")
		assertTold(t, told, "auth", "WRONGPASS", "refuses the counts, and will until somebody changes that")
		ctx, cancel := within(20 * time.Second)
		require.NoError(t, joined.Flush(ctx), "the new password holds")
		cancel()
		server.CLI("ACL", "SETUSER", "tally", ">secret")
		awaitOK(t, host)
		awaitOK(t, itsHost)
	}
	assertTold(t, lines, "WRONGPASS")
	l.settle(stores...)
	evidence.Report(t, evidence.Figure{
		Rows: []int{54}, Claim: "the password changes, the old one is taken away and given back: exact", Rounds: rounds,
		Fired:  int(old.store.writer.numbers.copy(old.store.writer.numbers.failures)["auth"]),
		Counts: l.bounds.Summary().Attempted, Note: l.bounds.Summary().String(),
	})
}

// The protocol of replies does not matter: a store whose client speaks RESP3 keeps the contract as well. (The extension
// speaks RESP2, which each server has.)
func TestFarRESP3(t *testing.T) {
	server := redistest.Start(t)
	proxy := away(t, server.Near(), time.Millisecond)
	storetest.Run(t, func(t *testing.T) store.MetricStore {
		cfg := testConfig(server.Near())
		cfg.KeyPrefix = newToken()
		return openRESP3(t, cfg, server.Near())
	})
	s := openRESP3(t, testConfig(proxy.Addr()), proxy.Addr())
	assert.Contains(t, server.CLI("CLIENT", "LIST"), "resp=3")
	l := startLoad(t, open(t, testConfig(server.Near())).store, false)
	l.count(s)
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		server.CLI("FLUSHALL")
	}
	l.settle(s)
}

// openRESP3 is open with a client of its own.
func openRESP3(t *testing.T, cfg *Config, addr string) *redisStore {
	t.Helper()
	e := newExtension(settings(), cfg)
	w := e.store.writer
	w.client = redis.NewClient(&redis.Options{Addr: addr, Protocol: 3, MaxRetries: -1, ContextTimeoutEnabled: true})
	w.health = newHealth(e.settings.Logger, componenttest.NewNopHost(), w.numbers)
	e.store.reader = newReader(cfg, w.client, e.store.local.opened)
	require.NoError(t, w.client.Ping(t.Context()).Err())
	w.start(t.Context())
	e.stopChecking = e.check(t.Context())
	t.Cleanup(func() { assert.NoError(t, e.Shutdown(context.Background())) })
	return e.store
}
