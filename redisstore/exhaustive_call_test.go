// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"slices"
)

// flushCall is what flush.lua is called with: KEYS and ARGV of it, read. Nobody changes it.
type flushCall struct {
	slot          string
	writer        string
	shards        string
	generation    string
	newGeneration string
	acked         string
	sequence      int64
	token         string
	seen          int64
	slotPeriod    int64
	writerPeriod  int64
	session       string
	absolute      bool
	epoch         int64
	entries       []callEntry
	fields        []string // of the entries without an id
	runs          []callRun
}

type callEntry struct {
	amount, start int64
	place         int
	id            uint32
	nothing       placeValue // what the place would have that has nothing new, of a call with contributions
}

// placeValue is what a place of a slot has.
type placeValue struct {
	n      int64
	tenant uint32
}

// callRun is what is to be written into the slot.
type callRun struct {
	place  int
	values []placeValue
}

// readCall reads what flushKeys and flushArgs return.
func readCall(keys []string, args []any) *flushCall {
	c := &flushCall{
		slot: keys[2], writer: args[0].(string), shards: fmt.Sprint(args[1]), generation: args[2].(string), newGeneration: args[3].(string),
		acked: args[4].(string), sequence: args[5].(int64), token: args[6].(string), seen: args[7].(int64),
		slotPeriod: args[8].(int64), writerPeriod: args[9].(int64), session: args[10].(string), absolute: args[11].(bool), epoch: args[12].(int64),
	}
	amounts, nothing := string(args[14].([]byte)), string(args[15].([]byte))
	for range args[13].(int) {
		e := callEntry{
			amount: readAmount(amounts), start: int64(number(amounts[9:15])), place: int(number(amounts[15:19])), id: uint32(number(amounts[19:23])),
		}
		if c.absolute {
			e.nothing, nothing = readPlace(nothing), nothing[placeLength:]
		}
		c.entries, amounts = append(c.entries, e), amounts[amountLength:]
	}
	rest := args[16:]
	for len(rest) > 0 {
		if field, ok := rest[0].(string); ok {
			c.fields = append(c.fields, field)
			rest = rest[1:]
			continue
		}
		c.runs = append(c.runs, readRun(rest[0].(int), string(rest[1].([]byte))))
		rest = rest[2:]
	}
	return c
}

func readAmount(text string) int64 { return int64(number(text[:5])*billion + number(text[5:9])) }

func readPlace(text string) placeValue {
	return placeValue{readAmount(text), uint32(number(text[9:placeLength]))}
}

func readRun(offset int, bytes string) callRun {
	run := callRun{place: offset / placeLength}
	for ; bytes != ""; bytes = bytes[placeLength:] {
		run.values = append(run.values, readPlace(bytes))
	}
	return run
}

// args returns what flush.lua gets of the call: readCall's inverse.
func (c *flushCall) args() []any {
	var amounts, nothing []byte
	for _, e := range c.entries {
		amounts = appendAmount(amounts, e.amount)
		amounts = appendNumber(amounts, uint64(e.start), 6)
		amounts = appendNumber(amounts, uint64(e.place), 4)
		amounts = appendNumber(amounts, uint64(e.id), 4)
		if c.absolute {
			nothing = appendPlace(nothing, e.nothing.n, e.nothing.tenant)
		}
	}
	args := []any{
		c.writer, c.shards, c.generation, c.newGeneration, c.acked, c.sequence, c.token, c.seen, c.slotPeriod, c.writerPeriod, c.session, c.absolute,
		c.epoch, len(c.entries), amounts, nothing,
	}
	for _, field := range c.fields {
		args = append(args, field)
	}
	for _, run := range c.runs {
		args = append(args, run.place*placeLength, packPlaces(run.values))
	}
	return args
}

func packPlaces(list []placeValue) []byte {
	var text []byte
	for _, v := range list {
		text = appendPlace(text, v.n, v.tenant)
	}
	return text
}

// totalsHash returns the totals as the script would have written them.
func (s *scriptServer) totalsHash() map[string]string {
	hash := map[string]string{}
	if s.generation == "" {
		return hash
	}
	hash["g"], hash["s"] = s.generation, s.shards
	for name, n := range map[string]int64{"i": int64(s.lastID), "e": s.epoch, "d": s.resync, "f": s.forgotten, "b": s.began, "h": s.swept, "c": s.since} {
		if n != 0 {
			hash[name] = fmt.Sprint(n)
		}
	}
	for _, k := range s.keys {
		hash[k.field] = string(appendNumber(nil, uint64(k.id), idLength))
	}
	for i, r := range s.records {
		if r.exists {
			text := appendAmount(nil, r.total)
			text = appendNumber(appendNumber(text, uint64(r.start), 6), uint64(r.last), 6)
			hash[recordField(string(appendNumber(nil, uint64(i+1), idLength)))] = string(text)
		}
	}
	return hash
}

// writersHash returns the writers as the script would have written them.
func (s *scriptServer) writersHash() map[string]string {
	hash := map[string]string{}
	if s.of != "" {
		hash["g"] = s.of
	}
	for _, h := range s.heads {
		hash[":"+h.name] = fmt.Sprintf("%d %s %d", h.sequence, h.token, h.seen)
	}
	return hash
}

// slotTexts returns the slots as the script would have written them.
func (s *scriptServer) slotTexts() map[string]string {
	texts := map[string]string{}
	for _, slot := range s.slots {
		texts[slot.key] = string(packPlaces(slot.places))
	}
	return texts
}

// equalCalls says whether two calls bring the same.
func equalCalls(a, b *flushCall) bool {
	return a.token == b.token && a.acked == b.acked && a.absolute == b.absolute && a.writer == b.writer && a.generation == b.generation && a.epoch == b.epoch &&
		a.seen == b.seen && a.slot == b.slot && slices.Equal(a.entries, b.entries) && slices.Equal(a.fields, b.fields)
}
