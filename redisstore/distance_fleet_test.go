// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// comers are writers that come and go, all at once.
type comers struct {
	t     *testing.T
	cfg   *Config
	lives int

	// mu guards the fields below.
	mu    sync.Mutex
	sum   int64           // that the totals must be
	known map[string]bool // names under which any has written: the server may know them
	stays map[string]bool // those whose slots may stay: they were killed, or have a storage
	kills int
}

// life opens a writer, counts, and ends it. It returns how much that and its earlier lives have counted as far as it
// can be known: a writer without a disk is killed when it has sent all.
func (c *comers) life(cfg *Config, host component.Host, kept, kill bool) (counted int64) {
	e := newExtension(settings(), cfg)
	require.NoError(c.t, e.Start(c.t.Context(), host))
	for range 1 + rand.IntN(3) {
		for range rand.IntN(40) {
			e.store.Add(loadKey(rand.IntN(60)), 1+rand.IntN(9))
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
	}
	if kill && !kept {
		ctx, cancel := within(time.Minute)
		defer cancel()
		assert.NoError(c.t, e.store.Flush(ctx))
	}
	for total := range e.store.LocalTotals() {
		counted += int64(total.Value)
	}
	if kill {
		e.crash()
	} else {
		assert.NoError(c.t, e.Shutdown(c.t.Context()))
	}
	c.note(e, kept || kill, kill)
	return counted
}

func (c *comers) note(e *redisExtension, stays, kill bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kill {
		c.kills++
	}
	for _, s := range e.store.writer.slots {
		c.known[s.name] = true
		if stays {
			c.stays[s.name] = true
		}
	}
}

// without is a writer without a storage.
func (c *comers) without() {
	for range c.lives {
		counted := c.life(c.cfg, componenttest.NewNopHost(), false, rand.IntN(2) == 0)
		c.mu.Lock()
		c.sum += counted
		c.mu.Unlock()
	}
}

// with is a writer with a storage: each life goes on with what the disk has, also where the one before was killed in
// the middle of a flush. So the last has counted what all have, as far as that was kept.
func (c *comers) with() {
	cfg, d := *c.cfg, newDisk()
	cfg.Storage = keptConfig(cfg.Endpoints[0]).Storage
	for range c.lives {
		c.life(&cfg, d, true, rand.IntN(2) == 0)
	}
	counted := c.life(&cfg, d, true, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum += counted
}

// TestFault_redis_far_comers: 50 writers at once come and go, cleanly and killed, with and without a storage, far from
// the server: the totals are exact, and what stays on the server is what the docs say.
func TestFault_redis_far_comers(t *testing.T) {
	const writers = 50
	server := redistest.Start(t)
	cfg := testConfig(away(t, server.Near(), distance).Addr())
	cfg.Timeout, cfg.ShutdownTimeout, cfg.WriterExpiry = 10*time.Second, 20*time.Second, time.Hour
	cfg.Shards = 8
	require.NoError(t, cfg.Validate())
	c := &comers{t: t, cfg: cfg, lives: evidence.Rounds(3, 50), known: map[string]bool{}, stays: map[string]bool{}}
	var running sync.WaitGroup
	for i := range writers {
		if i%2 == 0 {
			running.Go(c.without)
		} else {
			running.Go(c.with)
		}
	}
	running.Wait()
	got, err := sumOf(t.Context(), open(t, testConfigOf(cfg, server.Near())).store)
	require.NoError(t, err)
	assert.Equal(t, c.sum, got)
	c.checkLeftovers(server)
	evidence.Report(t, evidence.Figure{
		Rows: []int{48, 58}, Claim: "50 writers come and go, cleanly and killed, 5 ms from the server: exact, and only what the docs say stays", Unit: "lives",
		Rounds: writers * c.lives, Fired: c.kills, Counts: got,
	})
}

// testConfigOf returns cfg for another endpoint.
func testConfigOf(cfg *Config, endpoint string) *Config {
	own := *cfg
	own.Endpoints = []string{endpoint}
	return &own
}

// checkLeftovers: there are the totals and the writers of each shard, and, for an hour more, the slots of those who may
// come back.
func (c *comers) checkLeftovers(server *redistest.Server) {
	c.t.Helper()
	slots := 0
	for _, key := range strings.Fields(server.CLI("KEYS", "*")) {
		_, what, _ := strings.Cut(key, "}:")
		name, isSlot := strings.CutPrefix(what, "writer:")
		if !isSlot {
			assert.Contains(c.t, []string{"totals", "writers"}, what, key)
			continue
		}
		slots++
		name, _, _ = strings.Cut(name, ".")
		assert.True(c.t, c.stays[name], "%s is of nobody who may come back", key)
		left, err := strconv.Atoi(server.CLI("PTTL", key))
		require.NoError(c.t, err)
		assert.True(c.t, left > 0 && left <= int(c.cfg.WriterExpiry.Milliseconds()), "%s stays for %d ms", key, left)
	}
	assert.Positive(c.t, slots)
	for shard := range c.cfg.Shards {
		for _, name := range strings.Fields(server.CLI("HKEYS", names{c.cfg.KeyPrefix}.writers(shard))) {
			assert.True(c.t, name == "g" || c.known[strings.TrimPrefix(name, ":")], "%s is a name of nobody", name)
		}
	}
}
