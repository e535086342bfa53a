// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// portTest calls the scripts on a server and their port with the same, and compares answers and everything that they
// have written.
type portTest struct {
	t      *rapid.T
	client *redis.Client
	names  names
	port   scriptServer
	ms     int64 // of the clock
	calls  []*flushCall
	counts map[string]int
}

var (
	portPeriods = modelPeriods
	portFields  = []string{`:["a",{},{}]`, `:["b",{},{}]`, `:["c",{},{}]`}
)

// TestPortIsTheScript: whatever the scripts are called with, also with tokens, epochs, generations, ids and slots that
// are of nobody, their port answers and writes the same.
func TestPortIsTheScript(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2})
	defer func() { _ = client.Close() }()
	counts := map[string]int{}
	for range evidence.Rounds(4, 100) {
		rapid.Check(t, func(t *rapid.T) {
			p := &portTest{t: t, client: client, names: names{newToken()}, ms: 1_800_000_000_000, counts: counts}
			t.Repeat(map[string]func(*rapid.T){
				"call": p.call, "again": p.again, "drop": p.drop, "time": p.time, "leave": p.leave, "erase": p.erase, "call 2": p.call, "call 3": p.call,
				"sweep": p.sweep, "ask": p.ask,
			})
		})
	}
	t.Logf("answers: %v", counts)
	for _, status := range []string{statusOK, statusWiped, statusRolledBack, statusExpired, statusExpiredAfter, statusFenced, statusForgotten, statusShards, "left", "erased", "swept", "is there", "is gone"} {
		require.Positive(t, counts[status], status)
	}
}

// draw returns one of some texts, mostly one of those which matter.
func draw[T any](t *rapid.T, label string, list ...T) T {
	return rapid.SampledFrom(list).Draw(t, label)
}

// call calls with what a writer would, but for some of it.
func (p *portTest) call(t *rapid.T) {
	writer := draw(t, "writer", "w1", "w2", "w3")
	c := &flushCall{
		writer: writer, shards: "1", newGeneration: newToken(), generation: p.port.generation,
		sequence: rapid.Int64Range(0, 3).Draw(t, "sequence"), seen: p.ms, slotPeriod: portPeriods.slot.Milliseconds(), writerPeriod: portPeriods.writer.Milliseconds(),
		session: draw(t, "session", "x", "y", "z"), absolute: rapid.Bool().Draw(t, "absolute"), epoch: p.port.epoch,
	}
	switch rapid.IntRange(0, 31).Draw(t, "odd") { // small numbers are drawn more often
	case 31:
		c.shards = "2"
	case 30:
		c.generation = draw(t, "generation", "", "other")
	case 29, 28:
		c.epoch += draw[int64](t, "epoch", -1, 1)
	case 27, 26:
		c.seen = draw(t, "seen", 0, p.ms-portPeriods.slot.Milliseconds(), p.ms-portPeriods.writer.Milliseconds()-1, p.ms+1000)
	}
	tokens := []string{"", "x.1", "y.1", "x.2", "z.9"}
	if h := p.port.head(writer); h != nil {
		tokens = append(tokens, h.token, h.token, h.token, h.token, h.token, h.token)
		c.sequence = draw(t, "sequence", h.sequence, h.sequence, c.sequence)
	}
	c.acked = draw(t, "acked", tokens...)
	c.token = draw(t, "token", c.session+".1", c.session+".2", c.session+fmt.Sprint(p.ms), c.acked)
	c.slot = p.names.slot(0, writer, draw(t, "slot", "generation", "generation", "generation", "generat2"))
	if c.token != c.acked {
		p.addEntries(t, c)
	}
	if len(c.entries) == 0 {
		c.token = c.acked // as a beat
	}
	p.calls = append(p.calls, c)
	p.run(c)
}

// addEntries adds some of three keys in the order of their indexes.
func (p *portTest) addEntries(t *rapid.T, c *flushCall) {
	for i := range 3 {
		if rapid.IntRange(0, 2).Draw(t, "left out") == 0 {
			continue
		}
		n := draw[int64](t, "amount", 0, 1, 2, 7, 999_999_999, 1_000_000_000, 1<<53+1, math.MaxInt64-1, math.MaxInt64)
		e := callEntry{amount: n, start: p.ms - draw[int64](t, "start", 0, 1000, -1000), place: i}
		if !c.absolute && rapid.IntRange(0, 2).Draw(t, "is told") == 0 {
			e.start = 0
		}
		tenant := draw[uint32](t, "tenant", 1, 1, 1, 2)
		if c.absolute {
			e.nothing = placeValue{draw(t, "forgotten", 0, 0, n/2), tenant}
		}
		field := portFields[i]
		if e.id = p.port.id(field); rapid.IntRange(0, 3).Draw(t, "no id") == 0 {
			e.id = 0
		}
		if rapid.IntRange(0, 20).Draw(t, "odd id") == 0 {
			e.id = p.port.lastID + uint32(10+i)
		}
		if e.id == 0 {
			c.fields = append(c.fields, field)
		}
		c.entries = append(c.entries, e)
		c.runs = append(c.runs, callRun{place: i, values: []placeValue{{draw(t, "contribution", n, n/2), tenant}}})
	}
}

func (p *portTest) again(t *rapid.T) {
	if len(p.calls) == 0 {
		t.Skip()
	}
	p.run(rapid.SampledFrom(p.calls).Draw(t, "call"))
}

// run calls both, and compares.
func (p *portTest) run(c *flushCall) {
	p.ms++
	p.setClock()
	keys := []string{p.names.totals(0), p.names.writers(0), c.slot}
	reply, err := modelScript.Run(p.t.Context(), p.client, keys, c.args()...).Result()
	require.NoError(p.t, err)
	want, err := parseAnswer(reply)
	require.NoError(p.t, err)
	require.Equal(p.t, want, p.port.flush(c, p.clock()))
	p.counts[want.status]++
	p.compare()
}

func (p *portTest) clock() clockTime {
	return clockTime{now: p.ms, seconds: fmt.Sprint(p.ms / 1000), micros: fmt.Sprint(p.ms % 1000 * 1000)}
}

func (p *portTest) setClock() {
	c := p.clock()
	require.NoError(p.t, p.client.HSet(p.t.Context(), "clock", "seconds", c.seconds, "microseconds", c.micros).Err())
	held := map[string]bool{}
	for _, slot := range p.port.slots {
		held[slot.key] = slot.expires <= p.ms
	}
	for key, expired := range held { // as the server would
		if expired {
			require.NoError(p.t, p.client.Del(p.t.Context(), key).Err())
		}
	}
}

// compare compares everything that is on the server.
func (p *portTest) compare() {
	ctx := p.t.Context()
	require.Equal(p.t, p.port.totalsHash(), p.client.HGetAll(ctx, p.names.totals(0)).Val())
	require.Equal(p.t, p.port.writersHash(), p.client.HGetAll(ctx, p.names.writers(0)).Val())
	texts := map[string]string{}
	for _, key := range p.client.Keys(ctx, strings.Replace(p.names.slot(0, "*", "x"), ".x", "*", 1)).Val() {
		texts[key] = p.client.Get(ctx, key).Val()
	}
	require.Equal(p.t, p.port.slotTexts(), texts)
	for _, slot := range p.port.slots {
		require.Equal(p.t, slot.expires, must(p.client.HGet(ctx, "expiries", slot.key).Int64()), slot.key)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// drop drops one of the keys on the server.
func (p *portTest) drop(t *rapid.T) {
	slot := p.names.slot(0, draw(t, "writer", "w1", "w2", "w3"), "generation")
	key := draw(t, "key", slot, slot, p.names.writers(0), p.names.totals(0))
	require.NoError(t, p.client.Del(t.Context(), key).Err())
	switch key {
	case slot:
		p.port.dropSlot(slot)
	case p.names.writers(0):
		p.port.dropWriters()
	default:
		p.port.dropTotals()
	}
}

func (p *portTest) time(t *rapid.T) {
	p.ms += draw(t, "period", time.Second, time.Minute, portPeriods.slot, portPeriods.slot/2, portPeriods.writer+1, -portPeriods.slot).Milliseconds()
}

func (p *portTest) leave(t *rapid.T) {
	p.setClock()
	name, tokens := draw(t, "writer", "w1", "w2", "w3"), []string{"", "x.1", "y.1"}
	h := p.port.head(name)
	if h != nil {
		tokens = append(tokens, h.token, h.token)
	} else if p.port.of == "" {
		t.Skip() // nobody leaves where nobody was
	}
	token := draw(t, "token", tokens...)
	slot := p.names.slot(0, name, "generation")
	stays := portPeriods.slot.Milliseconds()
	left, err := modelLeaveScript.Run(t.Context(), p.client, []string{p.names.writers(0), slot}, name, token, stays, portPeriods.writer.Milliseconds()).Int()
	require.NoError(t, err)
	require.Equal(t, left, p.port.leave(slot, name, token, stays, portPeriods.writer.Milliseconds(), p.clock()))
	if left == 1 {
		p.counts["left"]++
	}
	p.compare()
}

func (p *portTest) erase(t *rapid.T) {
	source, err := os.ReadFile("erase.lua")
	require.NoError(t, err)
	field := draw(t, "field", portFields...)
	n, err := redis.NewScript(string(source)).Run(t.Context(), p.client, []string{p.names.totals(0)}, field[1:5]+"]").Int()
	require.NoError(t, err)
	p.port.erase(field)
	p.counts["erased"] += n
	p.compare()
}

func (p *portTest) sweep(t *rapid.T) {
	idle, interval := modelForget.Milliseconds(), modelInterval.Milliseconds()
	for range draw(t, "sweeps", 1, 1, 2*sweeps) {
		p.ms += draw(t, "interval", modelInterval, modelInterval, modelInterval/2, 2*modelInterval+time.Second).Milliseconds()
		p.ms++
		p.setClock()
		n, dropped := int64(0), int64(0)
		for s := (sweep{cursor: "0"}); s.cursor != ""; {
			reply, err := modelForgetScript.Run(t.Context(), p.client, []string{p.names.totals(0)}, idle, interval, s.cursor, page).Result()
			require.NoError(t, err)
			n, err = s.swept(reply)
			require.NoError(t, err)
			dropped += n
		}
		require.Len(t, p.port.sweep(idle, interval, p.clock()), int(dropped))
		p.counts["swept"] += int(dropped)
		p.port.dropExpired(p.ms)
		p.compare()
	}
}

func (p *portTest) ask(t *rapid.T) {
	name, generation, token := draw(t, "writer", "w1", "w2", "w3"), p.port.generation, draw(t, "token", "", "x.1", "y.1")
	if h := p.port.head(name); h != nil {
		token = draw(t, "token", token, h.token, h.token)
	}
	fields := append(slices.Clone(portFields), recordField(string(appendNumber(nil, uint64(p.port.lastID), idLength))))
	if generation == "" {
		generation = "other"
	}
	found := p.port.ask(name, generation, token, fields)
	reply, err := askScript.Run(t.Context(), p.client, []string{p.names.totals(0), p.names.writers(0)}, name, generation, token,
		fields[0], fields[1], fields[2], fields[3]).Result()
	require.NoError(t, err)
	require.Equal(t, found, reply)
	for _, n := range found {
		p.counts[map[any]string{int64(0): "is gone", int64(1): "is there"}[n]]++
	}
}
