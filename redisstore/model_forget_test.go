// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// modelKeys are of a metric each, so that what is forgotten is known by key.
var modelKeys = []string{`["a",{},{}]`, `["b",{},{}]`, `["c",{},{}]`}

const (
	modelForget   = 3 * time.Hour
	modelInterval = modelForget / sweeps
)

var modelForgetScript = redis.NewScript(modelServer.Replace(forgetSource))

// chronicle is what somebody knows who has seen all that has happened to a server, or to the replica whose history is
// its own now.
type chronicle struct {
	history
	elapsed time.Duration // however the clock was set
	before  history       // of the replica

	ended map[string]int64 // by key: what writers have counted that are gone
}

// history is what has happened on the way to the present state of a server.
type history struct {
	dropped map[string]int64         // by key: what sweeps have taken out of the totals
	counted map[string]time.Duration // by key, the time of the last count, by chronicle.elapsed
	early   map[string]time.Duration // by key, unnoticed as it was then

	// lost is, by key, what the server may have lost for good: that writers had forgotten, or ended with, when it went
	// back.
	lost map[string]int64
	// forgotten is what writers had forgotten, by key.
	forgotten map[string]int64

	// swept is the time of the last sweep by the server's clock, and offset how much that was ahead of elapsed.
	// unnoticed is by how much it went ahead between two sweeps, if that was too little to be noticed: so much earlier
	// may a key be dropped.
	swept             time.Time
	offset, unnoticed time.Duration
}

func newChronicle() chronicle {
	return chronicle{ended: map[string]int64{}, history: history{
		dropped: map[string]int64{}, counted: map[string]time.Duration{}, early: map[string]time.Duration{},
		lost: map[string]int64{}, forgotten: map[string]int64{},
	}}
}

func (h *history) clone() history {
	c := *h
	c.dropped, c.counted, c.early = maps.Clone(h.dropped), maps.Clone(h.counted), maps.Clone(h.early)
	c.lost, c.forgotten = maps.Clone(h.lost), maps.Clone(h.forgotten)
	return c
}

// forgetActions are few beside those that forget, so that all of them meet. Requests that arrive late are not among
// them: see what README.md says of those that arrive after the server has gone back.
func forgetActions(f *fleet) map[string]func(*rapid.T) {
	all := anyForgetAction(f)
	some := map[string]func(*rapid.T){}
	for _, name := range []string{
		"count", "flush", "no reply", "replicate", "fail over", "set clock", "restart", "sweep", "sweep for long", "clock back", "ask", "ask all",
	} {
		some[name] = all[name]
	}
	return some
}

// TestFault_redis_forgetting: keys are forgotten, come back, and are forgotten again, in weeks full of all other
// faults. When all writers have flushed, each key has what was counted of it, in its total or in what was dropped; each
// writer has all that it has counted, in what it lists or in what it says is forgotten; and nothing was dropped that
// had been counted for less than `forget_after`.
func TestFault_redis_forgetting(t *testing.T) {
	for name, server := range map[string]*redistest.Server{"redis": redistest.Start(t), "valkey": redistest.StartValkey(t)} {
		t.Run(name, func(t *testing.T) {
			testActions(t, server, anyForgetAction, evidence.Figure{
				Rows: []int{48, 52, 55, 57, 58},
				Claim: "keys are forgotten and come back in weeks of loss, repetition, failover, wipes, restarts and wrong clocks: each total exact, " +
					"and none dropped early",
			}, string(eventWiped), string(eventRolledBack), string(eventExpired), "dropped", "begun anew", "forgotten here")
		})
	}
}

// TestFault_redis_forgetting_and_going_back: the same, where the server is set back again and again to what it was
// before keys were forgotten, or came back.
func TestFault_redis_forgetting_and_going_back(t *testing.T) {
	if evidence.Rounds(0, 1) == 0 {
		t.Skip("with TALLY_TEST_LONG only: about one sequence in a thousand loses a count, which is an open fault; see README.md")
	}
	testActions(t, redistest.Start(t), forgetActions, evidence.Figure{
		Rows: []int{55, 57}, Claim: "keys are forgotten and come back, and the server goes back to before that: each total exact, and none dropped early",
	}, string(eventRolledBack), "dropped", "begun anew", "forgotten here")
}

// anyForgetAction are all actions, and those that forget.
func anyForgetAction(f *fleet) map[string]func(*rapid.T) {
	all := anyAction(f)
	maps.Copy(all, map[string]func(*rapid.T){
		"sweep":          func(t *rapid.T) { f.sweep(t) },
		"sweep for long": f.sweepForLong,
		"ask":            func(*rapid.T) { f.ask(f.pick()) },
		"clock back":     f.clockBack,
		"ask all":        f.askAll,
		"crash":          f.crash,
	})
	return all
}

func (w *modelWriter) add(key string, n int) {
	w.local.add(key, n)
	w.counted[key] += int64(n)
}

// forgotten returns what w says is forgotten of a key.
func (w *modelWriter) forgotten(key string) int64 {
	return int64(w.local.forgottenTotals()[key[2:3]].Total)
}

// value returns what w lists of a key.
func (w *modelWriter) value(key string) int64 {
	if e, ok := w.local.find(key); ok {
		return e.value.Load()
	}
	return 0
}

func (f *fleet) silence(t *rapid.T, d time.Duration) {
	f.step(t, d)
	f.elapsed += d
}

// ahead returns how much a time by the server's clock is ahead of elapsed.
func (f *fleet) ahead(at time.Time) time.Duration {
	return at.Sub(time.Unix(1_700_000_000, 0)) - f.elapsed
}

// totals returns those of the server.
func (f *fleet) totals() map[string]int64 {
	totals := map[string]int64{}
	fields, err := f.client.HGetAll(f.t.Context(), f.names.totals(0)).Result()
	require.NoError(f.t, err)
	records := 0
	for field, text := range fields {
		switch field[0] {
		case ':':
			r, err := parseRecord(fields[recordField(text)])
			require.NoError(f.t, err)
			totals[field[1:]] = r.total
		case '#':
			records++
		}
	}
	require.Len(f.t, totals, records)
	return totals
}

func (f *fleet) noteCounts(before map[string]int64) {
	for key, n := range f.totals() {
		if n > before[key] {
			last := f.clock
			if f.swept.After(last) {
				last = f.swept
			}
			f.counted[key], f.early[key] = f.elapsed, f.unnoticed-max(0, f.offset-f.ahead(last))
		}
	}
}

// sweep is what a writer does every modelInterval.
func (f *fleet) sweep(t *rapid.T) {
	f.clock = f.clock.Add(time.Millisecond)
	require.NoError(t, f.client.HSet(t.Context(), "clock", "seconds", f.clock.Unix(), "microseconds", f.clock.Nanosecond()/1000).Err())
	if gap := f.clock.Sub(f.swept); gap >= 0 && gap <= 2*modelInterval {
		f.unnoticed += max(0, f.ahead(f.clock)-f.offset)
	}
	f.swept, f.offset = f.clock, f.ahead(f.clock)
	before := f.totals()
	s := sweep{cursor: "0"}
	for s.cursor != "" {
		reply, err := modelForgetScript.Run(t.Context(), f.client, []string{f.names.totals(0)},
			modelForget.Milliseconds(), modelInterval.Milliseconds(), s.cursor, page).Result()
		require.NoError(t, err)
		_, err = s.swept(reply)
		require.NoError(t, err)
	}
	after := f.totals()
	for key, n := range before {
		if _, found := after[key]; found {
			continue
		}
		f.dropped[key] += n
		f.fired["dropped"]++
		idle := f.elapsed - f.counted[key] + f.unnoticed - f.early[key]
		// each call takes a millisecond
		require.GreaterOrEqual(t, idle, modelForget-time.Second, "%s was counted not long ago", key)
	}
}

// sweepForLong is what happens while writers live: sweeps without a gap. Some writers count meanwhile, others do not.
func (f *fleet) sweepForLong(t *rapid.T) {
	busy := rapid.SampledFrom([]string{"nobody", "a writer", "all"}).Draw(t, "busy")
	for range rapid.IntRange(sweeps, 2*sweeps+3).Draw(t, "sweeps") {
		f.silence(t, rapid.SampledFrom([]time.Duration{modelInterval, modelInterval + time.Minute}).Draw(t, "interval"))
		f.sweep(t)
		for i, w := range f.writers {
			if busy == "all" || busy == "a writer" && i == 0 {
				w.add(modelKeys[0], 1)
			}
			f.exchange(w, false, rapid.IntRange(0, 9).Draw(t, "no reply") == 0)
		}
	}
}

// clockBack is a server whose clock is back for so short that no sweep sees it, while somebody counts.
func (f *fleet) clockBack(t *rapid.T) {
	by := drawPeriod(t)
	f.step(t, -by)
	w := f.pick()
	w.add(rapid.SampledFrom(modelKeys).Draw(t, "key"), 1)
	f.exchange(w, false, false)
	f.step(t, by)
	f.sweep(t)
}

// ask is what a writer does of keys that it does not count.
func (f *fleet) ask(w *modelWriter) {
	w.slot.lookForIdle(0)
	for {
		asked := w.slot.nextIdle(0)
		if len(asked) == 0 {
			return
		}
		reply, err := askScript.Run(f.t.Context(), f.client, []string{f.names.totals(0), f.names.writers(0)}, w.slot.askArgs(asked)...).Result()
		require.NoError(f.t, err)
		gone, err := parseMissing(asked, reply)
		require.NoError(f.t, err)
		f.fired["forgotten here"] += len(w.slot.drop(gone))
	}
}

func (f *fleet) askAll(*rapid.T) {
	for _, w := range f.writers {
		f.ask(w)
	}
}

// crash replaces a writer by one that knows nothing. What it had not sent may have arrived, or not.
func (f *fleet) crash(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip()
	}
	w := f.pick()
	w.slot.collect()
	generation, _ := f.client.HGet(t.Context(), f.names.totals(0), "g").Result() // none = it is wiped
	behind := f.isRolledBack(w) || generation != w.slot.generation
	for key, n := range w.counted {
		f.copied[key] -= n
		f.ended[key] += n
		f.lost[key] += w.value(key)
	}
	if !behind {
		w.slot.all(func(e *entry) { f.lost[e.key()] -= e.acked })
	}
	f.replica = nil
	*w = *f.newWriter()
}

func (f *fleet) sumForgotten() map[string]int64 {
	sum := map[string]int64{}
	for _, key := range modelKeys {
		for _, w := range f.writers {
			sum[key] += w.forgotten(key)
		}
	}
	return sum
}

func (f *fleet) replicate() {
	f.replica = f.dump()
	f.forgotten = f.sumForgotten()
	f.before = f.history.clone()
}

// loseAll notes that the server has begun anew.
func (f *fleet) loseAll() {
	f.history = newChronicle().history
	f.lost = f.sumForgotten()
	for key, n := range f.ended {
		f.lost[key] += n
	}
}

// loseNewer notes that the server has gone back: what was forgotten since is not brought back.
func (f *fleet) loseNewer() {
	f.history = f.before.clone()
	for key, n := range f.sumForgotten() {
		f.lost[key] += n - f.forgotten[key]
	}
}

// compare compares when all writers have flushed.
func (f *fleet) compare() {
	totals := f.totals()
	for _, key := range modelKeys {
		counted := -f.copied[key]
		for _, w := range f.writers {
			counted += w.counted[key]
			require.Equal(f.t, w.counted[key], w.value(key)+w.forgotten(key), "what a writer has counted of %s", key)
		}
		got := totals[key] + f.dropped[key]
		require.LessOrEqual(f.t, got, counted, "%s: %d dropped", key, f.dropped[key])
		require.GreaterOrEqual(f.t, got, counted-f.lost[key], "%s: %d dropped, %d may be lost", key, f.dropped[key], f.lost[key])
	}
	for _, w := range f.writers {
		require.LessOrEqual(f.t, len(w.slot.places), 2*len(modelKeys), "places are used again")
	}
}
