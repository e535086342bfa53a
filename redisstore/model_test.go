// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// fleet is a few writers to one shard of a real server, all of whose steps are taken one after the other, in any order.
type fleet struct {
	t       *rapid.T
	client  *redis.Client
	names   names
	writers []*modelWriter
	left    []*modelWriter
	copied  map[string]int64  // by key: what more than one writer has counted, as it was copied
	replica map[string]stored // what a replica has which got nothing since; nil = there is none
	clock   time.Time         // of the server
	fired   map[string]int
	chronicle
}

// stored is a key of a replica.
type stored struct {
	value   string
	expires time.Time // by the server's clock; zero = never
}

// modelWriter is a writer and the requests that it has sent under its name, any of which may arrive once more.
type modelWriter struct {
	local *local
	slot  *slot
	sent  []sentFlush

	counted map[string]int64 // by key
	late    bool             // one of them has come again since the last answer
}

type sentFlush struct {
	keys []string
	args []any
}

var modelPeriods = periods{slot: time.Hour, writer: writerExpiries * time.Hour}

// modelScript and modelLeaveScript are the scripts on a server whose clock the model sets, and which notes when a slot
// expires by that.
var (
	modelScript, modelLeaveScript = redis.NewScript(modelServer.Replace(flushSource)), redis.NewScript(modelServer.Replace(leaveSource))

	modelServer = strings.NewReplacer(
		"redis.call('TIME')", "redis.call('HMGET', 'clock', 'seconds', 'microseconds')",
		"redis.call('PEXPIRE', slot, ARGV[9])", "redis.call('HSET', 'expiries', slot, string.format('%.0f', now + ARGV[9]))",
	)
)

// TestFault_redis_any_order: whatever is lost, comes twice or late, is forgotten, goes back to an earlier state,
// restarts or is copied, in whatever order: when all writers have flushed, each total is what was counted.
func TestFault_redis_any_order(t *testing.T) {
	for name, server := range map[string]*redistest.Server{"redis": redistest.Start(t), "valkey": redistest.StartValkey(t)} {
		t.Run(name, func(t *testing.T) {
			testActions(t, server, anyAction, evidence.Figure{
				Rows: []int{48, 52, 55, 57, 58}, Claim: "whatever is lost, repeated, late, wiped, evicted, failed over, restarted or copied, in random order: each total exact",
			}, string(eventWiped), string(eventRolledBack), string(eventExpired), string(eventFenced))
		})
	}
}

// TestFault_redis_any_clock: writers are silent for any time, and the clock of the server is set to any, ahead and
// back, as by a failover: when all writers have flushed, each total is what was counted.
func TestFault_redis_any_clock(t *testing.T) {
	testActions(t, redistest.Start(t), clockActions, evidence.Figure{
		Rows: []int{55, 58}, Claim: "writers are silent for any time, and the server's clock goes ahead and back: each total exact",
	}, string(eventExpired))
}

// TestFault_redis_leaving: writers that have had all acknowledged leave, and what they have sent before comes once
// more, late. Nothing is counted twice, nothing is lost, and no slot stays.
func TestFault_redis_leaving(t *testing.T) {
	testActions(t, redistest.Start(t), leaveActions, evidence.Figure{
		Rows: []int{58}, Claim: "writers leave and come, their requests come late, the clock goes ahead and back: each total exact",
	}, string(eventExpired))
}

// actions are the steps of a fleet, by name.
type actions = func(f *fleet) map[string]func(*rapid.T)

func anyAction(f *fleet) map[string]func(*rapid.T) {
	all := clockActions(f)
	maps.Copy(all, map[string]func(*rapid.T){
		"no server": func(*rapid.T) { f.exchange(f.pick(), true, false) },
		"late":      f.late,
		"expire":    f.expire,
		"replicate": func(*rapid.T) { f.replicate() },
		"wipe": func(t *rapid.T) {
			if rapid.IntRange(0, 3).Draw(t, "seldom") == 0 {
				f.erase()
				f.replica = nil
				f.loseAll()
			}
		},
		"evict":     f.evict,
		"fail over": f.failOver,
		"copy":      f.copyWriter,
	})
	return all
}

// clockActions are those in which it is time that makes the server forget.
func clockActions(f *fleet) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"count":    f.count,
		"flush":    func(*rapid.T) { f.exchange(f.pick(), false, false) },
		"no reply": func(*rapid.T) { f.exchange(f.pick(), false, true) },
		"silence":  func(t *rapid.T) { f.silence(t, drawPeriod(t)) },
		"set clock": func(t *rapid.T) {
			f.step(t, drawPeriod(t)*time.Duration(rapid.SampledFrom([]int{-1, 1}).Draw(t, "sign")))
		},
		"restart": f.restart,
	}
}

// leaveActions are those in which writers leave, and others come.
func leaveActions(f *fleet) map[string]func(*rapid.T) {
	all := clockActions(f)
	all["late"] = f.late
	all["leave"] = f.leave
	return all
}

// testActions takes random actions, and reports a figure: each of events has happened.
func testActions(t *testing.T, server *redistest.Server, actions actions, figure evidence.Figure, events ...string) {
	client := redis.NewClient(&redis.Options{Addr: server.Near(), Protocol: 2}) // distance is nothing but another order
	defer func() { _ = client.Close() }()
	fired := map[string]int{}
	once := func(t *rapid.T) {
		f := &fleet{t: t, client: client, names: names{newToken()}, copied: map[string]int64{}, clock: time.Now(), fired: fired, chronicle: newChronicle()}
		f.writers = []*modelWriter{f.newWriter(), f.newWriter()}
		t.Repeat(actions(f))
		f.settle()
	}
	repeats := evidence.Rounds(5, 50)
	for range repeats { // each is so many times as -rapid.checks says, 100 without it
		rapid.Check(t, once)
	}
	t.Logf("what happened: %v", fired)
	least := math.MaxInt
	for _, event := range events {
		least = min(least, fired[event])
	}
	rounds := repeats * 100
	if f := flag.Lookup("rapid.checks"); f != nil {
		n, err := strconv.Atoi(f.Value.String())
		require.NoError(t, err)
		rounds = repeats * n
	}
	figure.Unit, figure.Rounds, figure.Fired = "sequences of steps", rounds, least
	figure.Note = fmt.Sprintf("how often the server was found in another state: %v", fired)
	evidence.Report(t, figure)
}

func (f *fleet) newWriter() *modelWriter {
	l := newLocal(1, 1000)
	return &modelWriter{local: l, slot: newSlot(&l.shards[0]), counted: map[string]int64{}}
}

func (f *fleet) pick() *modelWriter { return rapid.SampledFrom(f.writers).Draw(f.t, "writer") }

func (f *fleet) count(t *rapid.T) {
	w := f.pick()
	n := rapid.OneOf(rapid.IntRange(1, 20), rapid.Just(999_999_999), rapid.Just(1<<53+1)).Draw(t, "n")
	w.add(rapid.SampledFrom(modelKeys).Draw(t, "key"), n)
}

// exchange is what writer.round does for one shard.
func (f *fleet) exchange(w *modelWriter, noRequest, noReply bool) (more bool) {
	w.slot.collect()
	request := w.slot.next()
	if request == nil {
		request = w.slot.heartbeat()
	}
	if request == nil || noRequest {
		return false
	}
	args := w.slot.flushArgs(request, 1, modelPeriods)
	w.sent = append(w.sent, sentFlush{f.names.flushKeys(0, w.slot), args})
	reply := f.run(w.sent[len(w.sent)-1])
	if noReply {
		return true
	}
	a, err := parseAnswer(reply)
	require.NoError(f.t, err)
	w.late = false
	name := w.slot.name
	what, err := w.slot.settle(request, a)
	require.NoError(f.t, err)
	f.fired[string(what)]++
	if a.status == statusForgotten {
		f.fired["begun anew"]++
	}
	if w.slot.name != name {
		w.sent = nil // whoever is forgotten or fenced has no requests on their way: that takes a day
	}
	return w.slot.waiting() > 0 || what != eventNone
}

func (f *fleet) run(s sentFlush) any {
	f.clock = f.clock.Add(time.Millisecond)
	require.NoError(f.t, f.client.HSet(f.t.Context(), "clock", "seconds", f.clock.Unix(), "microseconds", f.clock.Nanosecond()/1000).Err())
	before := f.totals()
	reply, err := modelScript.Run(f.t.Context(), f.client, s.keys, s.args...).Result()
	require.NoError(f.t, err)
	f.noteCounts(before)
	return reply
}

// late delivers a request once more. A server that has gone back and gets one that it had taken before may give other
// numbers to its keys than the writer knows; README.md has that among what the protocol cannot do, so it is left out.
func (f *fleet) late(t *rapid.T) {
	w := rapid.SampledFrom(append(slices.Clone(f.writers), f.left...)).Draw(f.t, "writer")
	if len(w.sent) == 0 || f.lacksAcknowledged(w) {
		t.Skip()
	}
	f.run(rapid.SampledFrom(w.sent).Draw(t, "request"))
	w.late = true
}

// lacksAcknowledged says whether the server does not have what it has acknowledged to a writer.
func (f *fleet) lacksAcknowledged(w *modelWriter) bool {
	head, err := f.client.HGet(f.t.Context(), f.names.writers(0), ":"+w.slot.name).Result()
	if err != nil {
		return w.slot.sequence > 0
	}
	token := strings.Fields(head)[1]
	return w.slot.acked != "" && token != w.slot.acked && (w.slot.pending == nil || token != w.slot.pending.token)
}

// expire makes the server forget what a writer has contributed, which it does after so long that no replica is behind.
// Of one that it is behind of, see TestFault_redis_expired_while_behind.
func (f *fleet) expire(t *rapid.T) {
	w := f.pick()
	if w.late || f.isRolledBack(w) {
		t.Skip()
	}
	require.NoError(t, f.client.Del(t.Context(), f.names.slot(0, w.slot.name, w.slot.generation)).Err())
	f.replica = nil
}

// evict makes the server drop one of its keys. If it drops all that it knows of a writer, and a reply to that got lost,
// or the server has gone back, nobody can tell what was taken: that is left out.
func (f *fleet) evict(t *rapid.T) {
	key := rapid.SampledFrom([]string{f.names.totals(0), f.names.writers(0)}).Draw(t, "key")
	unknown := func(w *modelWriter) bool { return w.slot.pending != nil || f.isRolledBack(w) }
	if key == f.names.writers(0) && slices.ContainsFunc(f.writers, unknown) {
		t.Skip()
	}
	require.NoError(t, f.client.Del(t.Context(), key).Err())
	f.replica = nil
	if key == f.names.totals(0) {
		f.loseAll()
	}
	for _, w := range f.writers {
		w.sent = nil // a connection that is as old as the key that is gone brings nothing any more
	}
}

// isRolledBack says whether the server has lost something of a writer, which that has not brought back.
func (f *fleet) isRolledBack(w *modelWriter) bool {
	head, err := f.client.HGet(f.t.Context(), f.names.writers(0), ":"+w.slot.name).Result()
	if err == nil && w.slot.acked != "" && strings.Fields(head)[1] == w.slot.acked && w.slot.acked[0] == '?' {
		f.fired["found again"]++
		return false // it has lost what it knew of the writer, but not what that has contributed
	}
	if w.slot.resyncing || w.slot.pending != nil && w.slot.pending.absolute {
		return true
	}
	if err != nil {
		return w.slot.sequence > 0 || w.slot.pending != nil
	}
	token := strings.Fields(head)[1]
	return token != w.slot.acked && (w.slot.pending == nil || token != w.slot.pending.token)
}

func (f *fleet) erase() {
	for key := range f.dump() {
		require.NoError(f.t, f.client.Del(f.t.Context(), key).Err())
	}
}

func (f *fleet) dump() map[string]stored {
	found := map[string]stored{}
	keys, err := f.client.Keys(f.t.Context(), "{"+f.names.prefix+":0}:*").Result()
	require.NoError(f.t, err)
	for _, key := range keys {
		value, err := f.client.Dump(f.t.Context(), key).Result()
		require.NoError(f.t, err)
		k := stored{value: value}
		if millis, err := f.client.HGet(f.t.Context(), "expiries", key).Int64(); err == nil {
			k.expires = time.UnixMilli(millis)
		}
		found[key] = k
	}
	return found
}

// failOver makes the server have what the replica has; one that nobody has made yet begins to be behind now.
func (f *fleet) failOver(t *rapid.T) {
	if f.replica == nil {
		f.replicate()
		return
	}
	for _, k := range f.replica {
		if !k.expires.IsZero() && !k.expires.After(f.clock) {
			t.Skip() // see step
		}
	}
	f.erase()
	f.loseNewer()
	for key, k := range f.replica {
		require.NoError(t, f.client.Restore(t.Context(), key, 0, k.value).Err())
		if !k.expires.IsZero() {
			require.NoError(t, f.client.HSet(t.Context(), "expiries", key, k.expires.UnixMilli()).Err())
		}
	}
}

// revive returns a writer that goes on from what the storage has of another.
func (f *fleet) revive(w *modelWriter) *modelWriter {
	w.slot.collect()
	text, err := json.Marshal(w.slot.state(f.names.prefix, 1))
	require.NoError(f.t, err)
	var state slotState
	require.NoError(f.t, json.Unmarshal(text, &state))
	next := f.newWriter()
	next.slot.restore(next.local, &state)
	next.counted = maps.Clone(w.counted)
	return next
}

// restart replaces a writer by one that goes on from what it had stored. One whose name the server does not know would
// not bring back what it had contributed under an earlier one, should the shard be wiped after that: to bring it back
// twice is worse.
func (f *fleet) restart(t *rapid.T) {
	w := f.pick()
	if w.slot.sequence == 0 && w.slot.pending == nil && w.hasBase() {
		t.Skip()
	}
	next := f.revive(w)
	if w.slot.pending != nil && len(w.sent) > 0 { // of a process that is gone nothing comes but what was on its way
		next.sent, next.late = w.sent[len(w.sent)-1:], w.late
	}
	*w = *next
}

// hasBase says whether something that the writer has contributed is in no slot.
func (w *modelWriter) hasBase() (found bool) {
	w.slot.all(func(e *entry) { found = found || e.base > e.foreign })
	return found
}

// copyWriter makes a copy that goes on like its original, until the server tells them apart. All that is copied has
// arrived: what has not is counted by both.
func (f *fleet) copyWriter(t *rapid.T) {
	if len(f.writers) == 4 {
		t.Skip()
	}
	w := f.pick()
	f.flush(w)
	f.ask(w) // so that the next count of a key that is gone is taken at once, and the server tells them apart
	next := f.revive(w)
	for key, n := range next.counted {
		f.copied[key] += n
	}
	f.writers = append(f.writers, next)
	f.replica = nil
	first, second := w, next
	if rapid.Bool().Draw(t, "copy first") {
		first, second = next, w
	}
	first.add(modelKeys[0], 1)
	f.exchange(first, false, rapid.Bool().Draw(t, "no reply"))
	f.flush(second)
}

func (f *fleet) flush(w *modelWriter) {
	for range 100 {
		if !f.exchange(w, false, false) {
			return
		}
	}
	require.Fail(f.t, "does not come to an end")
}

// settle flushes all, and compares.
func (f *fleet) settle() {
	for range 2 { // one writer may find out what another has to send again
		for _, w := range f.writers {
			f.flush(w)
		}
	}
	f.compare()
}
