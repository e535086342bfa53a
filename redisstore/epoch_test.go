// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// disk is a storage extension in memory, which outlives the stores that use it.
type disk struct {
	extension.Extension

	mu     sync.Mutex
	values map[string][]byte
	err    error
}

var diskID = component.MustNewID("disk")

func newDisk() *disk { return &disk{values: map[string][]byte{}} }

func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{values: maps.Clone(d.values)}
}

func (d *disk) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{diskID: d}
}

func (d *disk) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return d, nil
}

func (d *disk) Get(context.Context, string) ([]byte, error)  { return nil, errors.ErrUnsupported }
func (d *disk) Set(context.Context, string, []byte) error    { return errors.ErrUnsupported }
func (d *disk) Delete(context.Context, string) error         { return errors.ErrUnsupported }
func (d *disk) Close(context.Context) error                  { return nil }
func (d *disk) Walk(context.Context, storage.WalkFunc) error { return errors.ErrUnsupported }

func (d *disk) Batch(_ context.Context, ops ...*storage.Operation) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = d.values[op.Key]
		case storage.Set:
			d.values[op.Key] = op.Value
		case storage.Delete:
			delete(d.values, op.Key)
		}
	}
	return nil
}

func keptConfig(endpoint string) *Config {
	cfg := testConfig(endpoint)
	cfg.Storage = &diskID
	return cfg
}

// TestFault_redis_killed_with_storage: a process is killed at random, with counts on their way, and the next goes on
// from the storage: nothing that was counted before the last write is lost, and nothing is counted twice.
func TestFault_redis_killed_with_storage(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 31)
	proxy.DropReplies(0.2)
	d, want := newDisk(), 0
	kills := evidence.Rounds(40, 1000)
	for i := range kills {
		e := openOn(t, keptConfig(proxy.Addr()), d)
		for j := range 5 {
			e.store.Add("a", i+j)
			e.store.Add("b", 1)
			want += i + j
			if j%2 == 0 {
				_ = e.store.Flush(t.Context()) // whether it arrived or not
			}
		}
		for e.store.Flush(t.Context()) != nil {
		}
		e.store.Add("a", 3) // is written while the server is away
		want += 3
		release := proxy.Hold()
		_ = e.store.Flush(timeout(t, 20*time.Millisecond))
		require.Eventually(t, func() bool { return keptValue(d, "a", want) }, 5*time.Second, time.Millisecond)
		e.crash()
		release()
	}
	proxy.DropReplies(0)
	last := openOn(t, keptConfig(proxy.Addr()), d)
	require.NoError(t, last.store.Flush(t.Context()))
	assert.Equal(t, want, last.store.Get("a"))
	assert.Equal(t, 5*kills, last.store.Get("b"))
	evidence.Report(t, evidence.Figure{
		Rows: []int{58}, Claim: "with `storage`, processes are killed while replies get lost: exact", Unit: "kills", Rounds: kills,
		Fired: int(proxy.Dropped()), Counts: int64(want + 5*kills),
	})
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// keptValue says whether the storage has a value of a key.
func keptValue(d *disk, key string, want int) bool {
	v := &saver{prefix: "tally", slots: make([]*slot, 16)}
	for name, value := range d.copy().values {
		state, err := v.decode(value)
		if err != nil || !strings.HasPrefix(name, "shard.") {
			continue
		}
		for _, e := range state.Entries {
			if e.Key == key && e.Value == int64(want) {
				return true
			}
		}
	}
	return false
}

// TestFault_redis_clone: a machine is copied with its storage, and both go on. Each adds what it counts itself.
func TestFault_redis_clone(t *testing.T) {
	server := redistest.Start(t)
	original := newDisk()
	a := openOn(t, keptConfig(server.Addr()), original)
	a.store.Add("a", 100)
	require.NoError(t, a.store.Flush(t.Context()))
	a.store.Add("a", 10)
	require.NoError(t, a.store.Flush(t.Context()))
	clone := original.copy()
	a.store.Add("a", 1)
	require.NoError(t, a.store.Flush(t.Context()))

	b := openOn(t, keptConfig(server.Addr()), clone)
	b.store.Add("a", 1000)
	b.store.Add("b", 5)
	require.NoError(t, b.store.Flush(t.Context()))
	for range 5 {
		a.store.Add("a", 20_000)
		b.store.Add("a", 100_000)
		require.NoError(t, a.store.Flush(t.Context()))
		require.NoError(t, b.store.Flush(t.Context()))
	}
	assert.Equal(t, 601_111, a.store.Get("a"))
	assert.Equal(t, 5, a.store.Get("b"))
	fenced := a.store.writer.numbers.copy(a.store.writer.numbers.events)["fenced"] + b.store.writer.numbers.copy(b.store.writer.numbers.events)["fenced"]
	evidence.Report(t, evidence.Figure{
		Rows: []int{57}, Claim: "a machine is copied with its storage, and both go on: exact", Rounds: 5, Fired: int(fenced), Counts: 601_116,
	})
}

// TestFault_redis_slot_expired: what a writer has contributed expires without it, and the totals stay. When it comes
// back it adds what is new alone; also when it never learned that its last flush had arrived.
func TestFault_redis_slot_expired(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 58)
	cfg := testConfig(proxy.Addr())
	cfg.Shards = 1
	e := open(t, cfg)
	e.store.Add("a", 5)
	require.NoError(t, e.store.Flush(t.Context()))
	expire := func() {
		slots := server.CLI("KEYS", "*writer:*")
		require.NotEmpty(t, slots)
		server.CLI("DEL", slots)
	}
	expire()
	e.store.Add("a", 7)
	require.NoError(t, e.store.Flush(t.Context()))
	assert.Equal(t, 12, e.store.Get("a"))

	proxy.DropReplies(1)
	e.store.Add("a", 100)
	require.Error(t, e.store.Flush(t.Context()))
	proxy.Cut()
	proxy.Target("127.0.0.1:1")
	assert.Equal(t, 112, open(t, func() *Config { c := testConfig(server.Addr()); c.Shards = 1; return c }()).store.Get("a"), "it has arrived")
	expire()
	e.store.Add("a", 1000)
	proxy.DropReplies(0)
	proxy.Target(server.Addr())
	require.Eventually(t, func() bool { return e.store.Flush(t.Context()) == nil }, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, 1112, e.store.Get("a"))
	assert.EqualValues(t, 2, e.store.writer.numbers.copy(e.store.writer.numbers.events)["expired"])

	server.CLI("FLUSHALL")
	require.Eventually(t, func() bool { return e.store.Get("a") == 1112 }, 5*time.Second, 10*time.Millisecond,
		"what expired slots had contributed is sent again as well")
	evidence.Report(t, evidence.Figure{
		Rows: []int{55, 58}, Claim: "the server forgets a writer, and that comes back, also after a lost reply: exact", Rounds: 2, Fired: 2, Counts: 1112,
	})
}

// TestFault_redis_expired_while_behind: the server has gone back to an earlier state, and then forgets what the writer
// had contributed, before the writer is back. What was lost in between cannot be told; nothing is counted twice.
func TestFault_redis_expired_while_behind(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 1
	cfg.FlushInterval, cfg.HeartbeatInterval = time.Hour, time.Hour
	cfg.WriterExpiry = 24 * time.Hour
	e := open(t, cfg)
	e.store.Add("a", 5)
	require.NoError(t, e.store.Flush(t.Context()))
	totals := e.store.writer.names.totals(0)
	writers := e.store.writer.names.writers(0)
	client := e.store.writer.client
	earlier := map[string]string{}
	for _, key := range []string{totals, writers} {
		earlier[key] = client.Dump(t.Context(), key).Val()
	}
	e.store.Add("a", 20)
	require.NoError(t, e.store.Flush(t.Context()))
	server.CLI("FLUSHALL")
	for key, value := range earlier {
		require.NoError(t, client.Restore(t.Context(), key, 0, value).Err())
	}
	e.store.Add("a", 100)
	require.NoError(t, e.store.Flush(t.Context()))
	got, err := e.store.reader.get(t.Context(), "a")
	require.NoError(t, err)
	assert.EqualValues(t, 105, got, "without the 20 that the server lost, and cannot be told of")
	evidence.Report(t, evidence.Figure{
		Rows: []int{55}, Claim: "a writer is forgotten by a server that has gone back: only what the server lost is lost, nothing counts twice", Rounds: 1,
		Fired: int(e.store.writer.numbers.copy(e.store.writer.numbers.events)["expired"]), Counts: 125, Lost: 20, Loses: true,
	})
}

// TestSlotsExpire: the server is told when to forget a slot, and each flush and heartbeat puts that off.
func TestSlotsExpire(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 1
	cfg.WriterExpiry = 2 * time.Second
	e := open(t, cfg)
	e.store.Add("a", 5)
	require.NoError(t, e.store.Flush(t.Context()))
	time.Sleep(3 * time.Second)
	assert.NotEmpty(t, server.CLI("KEYS", "*writer:*"), "heartbeats keep it")
	e.crash()
	require.Eventually(t, func() bool { return server.CLI("KEYS", "*writer:*") == "" }, 5*time.Second, 20*time.Millisecond)
	assert.Equal(t, 5, open(t, cfg).store.Get("a"))
}

// TestDamagedState: what cannot be read is set aside, and what is of another configuration refused.
func TestDamagedState(t *testing.T) {
	server := redistest.Start(t)
	d := newDisk()
	cfg := keptConfig(server.Addr())
	cfg.Shards = 1
	e := openOn(t, cfg, d)
	e.store.Add("a", 5)
	require.NoError(t, e.Shutdown(t.Context()))

	whole := d.values["shard.0"]
	for i := range whole {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 1
		_, err := (&saver{prefix: "tally", slots: make([]*slot, 1)}).decode(damaged)
		require.ErrorIs(t, err, errDamaged, "byte %d", i)
		_, err = (&saver{prefix: "tally", slots: make([]*slot, 1)}).decode(whole[:i])
		require.ErrorIs(t, err, errDamaged, "cut at byte %d", i)
	}
	d.values["shard.0"] = whole[:10]
	again := openOn(t, cfg, d)
	again.store.Add("a", 2)
	require.NoError(t, again.store.Flush(t.Context()))
	assert.Equal(t, 7, again.store.Get("a"))
	assert.Len(t, d.copy().values, 2, "the damaged state is set aside")

	other := *cfg
	other.KeyPrefix = "other"
	require.NoError(t, again.Shutdown(t.Context()))
	for change, c := range map[string]func(*Config){
		"`key_prefix`": func(c *Config) { c.KeyPrefix = "other" },
		"`shards`":     func(c *Config) { c.Shards = 2 },
		"not found":    func(c *Config) { id := component.MustNewID("nobody"); c.Storage = &id },
	} {
		own := *cfg
		c(&own)
		refused := newExtension(extensiontest.NewNopSettings(typ), &own)
		require.ErrorContains(t, refused.Start(t.Context(), d), change)
		require.NoError(t, refused.Shutdown(t.Context()))
	}
}

// TestStateFormat: what a version has written, later ones read. Each file is as the first of its version wrote it; a
// new format gets another.
func TestStateFormat(t *testing.T) {
	_, s := restoreGolden(t, "testdata/state-v1.json")
	assert.Equal(t, "WRITER", s.name)
	assert.Equal(t, "GENERATION.1.2", s.generation)
	assert.Equal(t, []any{int64(3), int64(7), "LIFE.6", int64(1795563788774)}, []any{s.epoch, s.sequence, s.acked, s.seen})
	require.NotNil(t, s.pending)
	assert.Equal(t, "LIFE.7", s.pending.token)
	require.Len(t, s.pending.entries, 1)
	assert.EqualValues(t, 40, s.pending.entries[0].sent)
	require.Len(t, s.places, 2)
	e := s.places[0]
	assert.Equal(t, []any{"a", int64(50), int64(30), int64(5), int64(2)}, []any{e.key(), e.value.Load(), e.acked, e.base, e.foreign})
	assert.Equal(t, []any{"b", int64(0)}, []any{s.places[1].key(), s.places[1].value.Load()})
	assert.Equal(t, []uint32{1, 2, 2}, []uint32{e.tenant, s.places[1].tenant, s.tenants})

	l, s := restoreGolden(t, "testdata/state-v2.json")
	require.Len(t, s.places, 4)
	e = s.places[3]
	assert.Equal(t, []any{"a", uint32(9), int64(50), int64(30), int64(5), int64(2), int64(7)},
		[]any{e.key(), e.tenant, e.value.Load(), e.acked, e.base, e.foreign, e.forgotten})
	assert.Equal(t, []int{2, 0}, s.free)
	assert.EqualValues(t, 11, s.tenants)
	assert.Equal(t, map[string]capability.Forgotten{"m": {Total: 12}, "": {Total: 3}}, l.forgottenTotals())
	again, err := json.Marshal(s.state("tally", 1))
	require.NoError(t, err)
	golden, err := os.ReadFile("testdata/state-v2.json")
	require.NoError(t, err)
	assert.JSONEq(t, string(golden), string(again), "and writes")
}

func restoreGolden(t *testing.T, file string) (*local, *slot) {
	golden, err := os.ReadFile(file)
	require.NoError(t, err)
	v := &saver{prefix: "tally", slots: make([]*slot, 1)}
	state, err := v.decode(sealed(bytes.TrimSpace(golden)))
	require.NoError(t, err)
	l := newLocal(1, 10)
	s := newSlot(&l.shards[0])
	s.restore(l, state)
	return l, s
}

// A reader whose clock differs from the server's, by any step, waits no longer for the resync of a shard than others
// do.
func TestSettlingWithAnotherClock(t *testing.T) {
	now := time.Now()
	for _, ahead := range []time.Duration{0, time.Hour, 365 * 24 * time.Hour} { // of the server
		var s shardView
		until := s.update("g", fmt.Sprint(now.Add(ahead).UnixMilli()), now, 30*time.Second)
		assert.WithinDuration(t, now.Add(30*time.Second), until, time.Millisecond, "%v", ahead)
	}
	var s shardView
	until := s.update("g", fmt.Sprint(now.Add(-time.Hour).UnixMilli()), now, 30*time.Second)
	assert.True(t, until.Before(now), "the resync was long ago")
}

// afterRollback is a hook that does something to the server when a flush has been answered with "rolled back".
type afterRollback struct {
	redis.Hook
	do    func()
	fired int
}

func (h *afterRollback) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *afterRollback) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *afterRollback) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			c, ok := cmd.(*redis.Cmd)
			if !ok {
				continue
			}
			if answer, ok := c.Val().([]any); ok && len(answer) > 0 && answer[0] == statusRolledBack && h.fired == 0 {
				h.fired++
				h.do()
			}
		}
		return err
	}
}

// TestFault_redis_evicted_in_between: the server drops what it knows of the writers, a writer is told so, and before it
// sends again all that it has contributed, the server drops its slot as well. Nothing may be counted twice: its slot
// had all of it.
func TestFault_redis_evicted_in_between(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards, cfg.FlushInterval, cfg.HeartbeatInterval = 1, time.Hour, time.Hour
	s := open(t, cfg).store
	s.Add("a", 100)
	require.NoError(t, s.Flush(t.Context()))
	evicting := &afterRollback{do: func() {
		server.CLI("DEL", s.writer.names.slot(0, s.writer.slots[0].name, s.writer.slots[0].generation))
	}}
	s.writer.client.AddHook(evicting)
	server.CLI("DEL", s.writer.names.writers(0))
	s.Add("a", 7)
	require.NoError(t, s.Flush(t.Context()))
	other := open(t, cfg).store
	other.reader.settle = 0 // all has been sent again
	assert.Equal(t, map[string]int{"a": 107}, read(t, other))
	evidence.Report(t, evidence.Figure{
		Rows: []int{55}, Claim: "the server drops what it knows of a writer in two steps, and that asks in between: exact", Rounds: 1,
		Fired: evicting.fired, Counts: 107,
	})
}
