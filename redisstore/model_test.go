package redisstore

import (
	"encoding/json"
	"flag"
	"fmt"
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
	copied  map[string]int64  // by key: what more than one writer has counted, as it was copied
	replica map[string]string // what a replica has which got nothing since; nil = there is none
	fired   map[string]int
}

// modelWriter is a writer and the requests that it has sent under its name, any of which may arrive once more.
type modelWriter struct {
	local *local
	slot  *slot
	sent  []sentFlush
	late  bool // one of them has come again since the last answer
}

type sentFlush struct {
	keys []string
	args []any
}

var modelPeriods = periods{slot: time.Hour, writer: time.Hour}

// TestFault_redis_any_order: whatever is lost, comes twice or late, is forgotten, goes back to an earlier state, restarts or is
// copied, in whatever order: when all writers have flushed, each total is what was counted.
func TestFault_redis_any_order(t *testing.T) {
	for name, server := range map[string]*redistest.Server{"redis": redistest.Start(t), "valkey": redistest.StartValkey(t)} {
		t.Run(name, func(t *testing.T) { testAnyOrder(t, server) })
	}
}

func testAnyOrder(t *testing.T, server *redistest.Server) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2})
	defer func() { _ = client.Close() }()
	fired := map[string]int{}
	once := func(t *rapid.T) {
		f := &fleet{t: t, client: client, names: names{newToken()}, copied: map[string]int64{}, fired: fired}
		f.writers = []*modelWriter{f.newWriter(), f.newWriter()}
		t.Repeat(map[string]func(*rapid.T){
			"count":     f.count,
			"flush":     func(*rapid.T) { f.exchange(f.pick(), false, false) },
			"no server": func(*rapid.T) { f.exchange(f.pick(), true, false) },
			"no reply":  func(*rapid.T) { f.exchange(f.pick(), false, true) },
			"late":      f.late,
			"expire":    f.expire,
			"replicate": func(*rapid.T) { f.replica = f.dump() },
			"wipe": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "seldom") == 0 {
					f.erase()
					f.replica = nil
				}
			},
			"evict":     f.evict,
			"fail over": f.failOver,
			"restart":   f.restart,
			"copy":      f.copyWriter,
		})
		f.settle()
	}
	repeats := evidence.Rounds(5, 50)
	for range repeats { // each is so many times as -rapid.checks says, 100 without it
		rapid.Check(t, once)
	}
	t.Logf("what happened: %v", fired)
	least := math.MaxInt
	for _, event := range []event{eventWiped, eventBehind, eventExpired, eventFenced} {
		least = min(least, fired[string(event)])
	}
	rounds := repeats * 100
	if f := flag.Lookup("rapid.checks"); f != nil {
		n, err := strconv.Atoi(f.Value.String())
		require.NoError(t, err)
		rounds = repeats * n
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{48, 52, 55, 57, 58}, Claim: "whatever is lost, repeated, late, wiped, evicted, failed over, restarted or copied, in random order: each total exact",
		Unit: "sequences of steps", Rounds: rounds, Fired: least, Note: fmt.Sprintf("how often the server was found in another state: %v", fired),
	})
}

func (f *fleet) newWriter() *modelWriter {
	l := newLocal(1, 1000)
	return &modelWriter{local: l, slot: newSlot(&l.shards[0])}
}

func (f *fleet) pick() *modelWriter { return rapid.SampledFrom(f.writers).Draw(f.t, "writer") }

func (f *fleet) count(t *rapid.T) {
	w := f.pick()
	n := rapid.OneOf(rapid.IntRange(1, 20), rapid.Just(999_999_999), rapid.Just(1<<53+1)).Draw(t, "n")
	w.local.add(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), n)
}

// exchange is what writer.round does for one shard.
func (f *fleet) exchange(w *modelWriter, noRequest, noReply bool) (more bool) {
	w.slot.collect()
	request := w.slot.next()
	if request == nil {
		request = w.slot.beat()
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
	if w.slot.name != name {
		w.sent = nil // whoever is forgotten or fenced has no requests on their way: that takes a day
	}
	return w.slot.waiting() > 0 || what != eventNone
}

func (f *fleet) run(s sentFlush) any {
	reply, err := flushScript.Run(f.t.Context(), f.client, s.keys, s.args...).Result()
	require.NoError(f.t, err)
	return reply
}

func (f *fleet) late(t *rapid.T) {
	w := f.pick()
	if len(w.sent) == 0 {
		t.Skip()
	}
	f.run(rapid.SampledFrom(w.sent).Draw(t, "request"))
	w.late = true
}

// expire makes the server forget what a writer has contributed, which it does after so long that no replica is behind. Of one that it
// is behind of, see TestFault_redis_expired_while_behind.
func (f *fleet) expire(t *rapid.T) {
	w := f.pick()
	if w.late || f.isBehind(w) {
		t.Skip()
	}
	require.NoError(t, f.client.Del(t.Context(), f.names.slot(0, w.slot.name, w.slot.generation)).Err())
	f.replica = nil
}

// evict makes the server drop one of its keys. If it drops all that it knows of a writer, and a reply to that got lost, or the server
// has gone back, nobody can tell what was taken: that is left out.
func (f *fleet) evict(t *rapid.T) {
	key := rapid.SampledFrom([]string{f.names.totals(0), f.names.writers(0)}).Draw(t, "key")
	unknown := func(w *modelWriter) bool { return w.slot.pending != nil || f.isBehind(w) }
	if key == f.names.writers(0) && slices.ContainsFunc(f.writers, unknown) {
		t.Skip()
	}
	require.NoError(t, f.client.Del(t.Context(), key).Err())
	f.replica = nil
	for _, w := range f.writers {
		w.sent = nil // a connection that is as old as the key that is gone brings nothing any more
	}
}

// isBehind says whether the server has lost something of a writer, which that has not brought back.
func (f *fleet) isBehind(w *modelWriter) bool {
	head, err := f.client.HGet(f.t.Context(), f.names.writers(0), ":"+w.slot.name).Result()
	if err == nil && w.slot.acked != "" && strings.Fields(head)[1] == w.slot.acked && w.slot.acked[0] == '?' {
		f.fired["found again"]++
		return false // it has lost what it knew of the writer, but not what that has contributed
	}
	if w.slot.resending || w.slot.pending != nil && w.slot.pending.whole {
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

func (f *fleet) dump() map[string]string {
	found := map[string]string{}
	keys, err := f.client.Keys(f.t.Context(), "{"+f.names.prefix+":0}:*").Result()
	require.NoError(f.t, err)
	for _, key := range keys {
		found[key], err = f.client.Dump(f.t.Context(), key).Result()
		require.NoError(f.t, err)
	}
	return found
}

// failOver makes the server have what the replica has; one that nobody has made yet begins to be behind now.
func (f *fleet) failOver(t *rapid.T) {
	if f.replica == nil {
		f.replica = f.dump()
		return
	}
	f.erase()
	for key, value := range f.replica {
		require.NoError(t, f.client.Restore(t.Context(), key, time.Hour, value).Err())
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
	return next
}

// restart replaces a writer by one that goes on from what it had stored. One whose name the server does not know would not bring
// back what it had contributed under an earlier one, should the shard be wiped after that: to bring it back twice is worse.
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
	w.slot.shard.all(func(e *entry) { found = found || e.base > e.foreign })
	return found
}

// copyWriter makes a copy that goes on like its original, until the server tells them apart. All that is copied has arrived: what
// has not is counted by both.
func (f *fleet) copyWriter(t *rapid.T) {
	if len(f.writers) == 4 {
		t.Skip()
	}
	w := f.pick()
	f.flush(w)
	next := f.revive(w)
	for key, e := range next.local.shards[0].entries {
		f.copied[key] += e.value.Load()
	}
	f.writers = append(f.writers, next)
	f.replica = nil
	first, second := w, next
	if rapid.Bool().Draw(t, "copy first") {
		first, second = next, w
	}
	first.local.add("a", 1)
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
	want, got := map[string]int64{}, map[string]int64{}
	for _, w := range f.writers {
		for key, e := range w.local.shards[0].entries {
			want[key] += e.value.Load()
		}
	}
	for key, n := range f.copied {
		want[key] -= n
	}
	fields, err := f.client.HGetAll(f.t.Context(), f.names.totals(0)).Result()
	require.NoError(f.t, err)
	for field, text := range fields {
		if field[0] == ':' {
			r, err := parseRecord(fields[recordField(text)])
			require.NoError(f.t, err)
			got[field[1:]] = r.total
		}
	}
	require.Equal(f.t, want, got)
}
