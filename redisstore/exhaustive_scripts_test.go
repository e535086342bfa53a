// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Here are flush.lua, leave.lua and erase.lua in Go; for forget.lua and ask.lua see exhaustive_forget_test.go. All is
// done in the same order, but for the defects of which each leaves something out. TestPortIsTheScript compares them
// with the scripts: whoever changes those changes this as well.

// touch is the function of the script.
func (s *scriptServer) touch(name string, sequence int64, token string, seen int64) {
	h := s.head(name)
	if h == nil {
		s.heads = append(s.heads, scriptHead{name: name})
		h = &s.heads[len(s.heads)-1]
	}
	h.sequence, h.token, h.seen = sequence, token, seen
}

func (s *scriptServer) scope() string { return s.generation + " " + strconv.FormatInt(s.epoch, 10) }

func (s *scriptServer) answer(status string, clock clockTime) answer {
	return answer{status: status, generation: s.generation, now: clock.now, epoch: s.epoch}
}

// flush is flush.lua.
func (s *scriptServer) flush(call *flushCall, clock clockTime) answer {
	own := *call
	c := &own
	s.dropExpired(clock.now)
	if s.generation == "" {
		s.generation, s.shards = c.newGeneration+"."+clock.seconds+"."+clock.micros, c.shards
		s.heads, s.of = nil, s.generation+" 0"
	} else if s.shards != c.shards {
		return answer{status: statusShards, generation: s.shards, now: clock.now}
	}
	if c.generation != s.generation {
		if c.generation != "" {
			s.beginResync(clock)
		}
		return s.answer(statusWiped, clock)
	}
	if s.of != s.scope() {
		if s.without != noNewEpoch {
			s.epoch++
		}
		s.heads, s.of = nil, s.scope()
	}
	a, goOn := s.judge(c, clock)
	if !goOn {
		return a
	}
	return s.take(c, clock)
}

func (s *scriptServer) beginResync(clock clockTime) {
	if s.without != noResync {
		s.resync = clock.now
	}
}

// judge compares what the writer says of itself with what the server knows.
func (s *scriptServer) judge(c *flushCall, clock clockTime) (a answer, goOn bool) {
	head := s.head(c.writer)
	if head == nil {
		return s.judgeUnknown(c, clock)
	}
	hasSlot := s.slot(c.slot) != nil
	c.seen = max(c.seen, head.seen)
	lost := head.token != c.acked && head.token != c.token && s.without != noTokens
	own := strings.HasPrefix(head.token, c.session) || strings.HasPrefix(head.token, "?")
	switch {
	case lost && !own && head.sequence >= c.sequence && s.without != noFence:
		return s.answer(statusFenced, clock), false
	case !hasSlot && head.token == c.token && s.without != noExpiredAfter:
		return s.answer(statusExpiredAfter, clock), false
	case !hasSlot && s.without != noExpired:
		return s.answer(statusExpired, clock), false
	case lost:
		s.beginResync(clock)
		a := s.answer(statusRolledBack, clock)
		a.token = head.token
		return a, false
	case head.token == c.token && s.without != noRepeats:
		s.seen(c, head.sequence, head.token, clock)
		s.prolong(c, clock)
		a := s.answer(statusOK, clock)
		a.token = head.token
		return a, false
	}
	return answer{}, true
}

// judgeUnknown does that with a writer that the server does not know.
func (s *scriptServer) judgeUnknown(c *flushCall, clock clockTime) (a answer, goOn bool) {
	switch {
	case s.slot(c.slot) == nil:
		expired := clock.now-c.seen > c.writerPeriod
		forgotten := c.acked != "" && c.seen <= s.forgotten && s.without != noForgotten
		if c.epoch < s.epoch && s.without != noEpochCheck || expired || forgotten {
			return s.answer(statusExpired, clock), false
		}
		if c.acked != "" {
			s.beginResync(clock)
			return s.answer(statusRolledBack, clock), false
		}
	case !c.absolute && s.without != noAskingForAll:
		s.beginResync(clock)
		a := s.answer(statusRolledBack, clock)
		if s.without != noQuestionMark {
			a.token = "?" + clock.seconds + "." + clock.micros
			s.seen(c, c.sequence, a.token, clock)
		}
		return a, false
	}
	if len(c.entries) == 0 {
		return s.answer(statusOK, clock), false
	}
	s.forget(c, clock)
	return answer{}, true
}

// seen notes a writer: never earlier than that heard of it.
func (s *scriptServer) seen(c *flushCall, sequence int64, token string, clock clockTime) {
	seen := clock.now
	if s.without != noMaxOfSeen {
		seen = max(seen, c.seen)
	}
	s.touch(c.writer, sequence, token, seen)
}

func (s *scriptServer) prolong(c *flushCall, clock clockTime) {
	if slot := s.slot(c.slot); slot != nil {
		slot.expires = clock.now + c.slotPeriod
	}
}

// forget forgets the writers that are long gone. The script looks at four of the fields; here there are never more.
func (s *scriptServer) forget(c *flushCall, clock clockTime) {
	period := c.writerPeriod
	if s.without == noLongMemory {
		period = c.slotPeriod
	}
	s.heads = slices.DeleteFunc(s.heads, func(h scriptHead) bool {
		gone := clock.now-h.seen > period
		if gone {
			s.forgotten = max(s.forgotten, h.seen)
		}
		return gone
	})
}

// addition is what is to be added for an entry.
type addition struct {
	callEntry
	named bool // the writer knows the id
	told  bool // the totals have had the key, or have its start
	field string
}

// take adds what is new.
func (s *scriptServer) take(c *flushCall, clock clockTime) answer {
	list, lastID, gone := s.additions(c)
	a := s.answer(statusOK, clock)
	for i, e := range list {
		if e.named && s.record(e.id) == nil && s.without != noLostRecords {
			gone += string(appendNumber(nil, uint64(i+1), idLength))
		}
	}
	if gone != "" {
		a.status, a.token, a.ids = statusForgotten, c.acked, gone
		return a
	}
	a.token = c.token
	for _, e := range list {
		if !e.named {
			a.ids += string(appendNumber(nil, uint64(e.id), idLength))
			if e.id > s.lastID {
				s.keys = append(s.keys, scriptKey{e.field, e.id})
			}
		}
		a.full += s.addTo(c, e, clock)
	}
	s.lastID = lastID
	s.write(c)
	s.prolong(c, clock)
	s.seen(c, c.sequence+1, c.token, clock)
	return a
}

// additions returns what is to be added to which ids, also those that keys would get, and the numbers of entries that
// are gone.
func (s *scriptServer) additions(c *flushCall) (list []addition, lastID uint32, gone string) {
	fields := c.fields
	lastID = s.lastID
	for i, e := range c.entries {
		a := addition{callEntry: e, named: e.id != 0, told: e.start == 0}
		if c.absolute {
			a.amount, a.told = s.difference(c.slot, e)
		}
		if !a.named {
			a.field, fields = fields[0], fields[1:]
			a.id = s.id(a.field)
			switch {
			case a.id == 0 && a.told && !c.absolute:
				gone += string(appendNumber(nil, uint64(i+1), idLength))
			case a.id == 0 && a.amount > 0:
				lastID++
				a.id = lastID
			}
		}
		list = append(list, a)
	}
	return list, lastID, gone
}

func (s *scriptServer) addTo(c *flushCall, e addition, clock clockTime) (full int64) {
	n := e.amount
	if n == 0 {
		return 0
	}
	for int(e.id) > len(s.records) {
		s.records = append(s.records, scriptRecord{})
	}
	r := &s.records[e.id-1]
	if !r.exists {
		*r = scriptRecord{exists: true, start: clock.now}
	}
	if !e.told {
		r.start = min(r.start, e.start)
	}
	r.last, r.counted = max(clock.now, s.swept), clock.now-clock.stepped
	if clock.now < s.swept {
		r.counted -= worldInterval.Milliseconds() // it is only known to be after the last sweep
	}
	if s.without == noLastSweep {
		r.last = clock.now
	}
	if r.total > math.MaxInt64-n {
		n, full = math.MaxInt64-r.total, 1
	}
	r.total += n
	r.addShare(c.writer, n)
	return full
}

func (s *scriptServer) difference(key string, e callEntry) (n int64, isThere bool) {
	before, isThere := s.place(key, e.place, e.nothing.tenant)
	switch {
	case s.without == noDifference:
		return e.amount, isThere
	case !isThere:
		before = e.nothing.n
	}
	return max(0, e.amount-before), isThere
}

// write writes the contributions into the slot.
func (s *scriptServer) write(c *flushCall) {
	if len(c.runs) == 0 {
		return
	}
	slot := s.slot(c.slot)
	if slot == nil {
		s.slots = append(s.slots, scriptSlot{key: c.slot, expires: math.MaxInt64})
		slot = &s.slots[len(s.slots)-1]
	}
	for _, run := range c.runs {
		for len(slot.places) < run.place+len(run.values) {
			slot.places = append(slot.places, placeValue{})
		}
		copy(slot.places[run.place:], run.values)
	}
}

// leave is leave.lua.
func (s *scriptServer) leave(slot, name, token string, stays, remembered int64, clock clockTime) int {
	s.dropExpired(clock.now)
	h := s.head(name)
	if h == nil || h.token != token {
		return 0
	}
	s.dropSlot(slot)
	h.seen = clock.now + stays - remembered
	if s.without == noNameAfterLeaving {
		s.heads = slices.DeleteFunc(s.heads, func(h scriptHead) bool { return h.name == name })
	}
	return 1
}

// erase is erase.lua with an attribute that one field has.
func (s *scriptServer) erase(field string) {
	if r := s.record(s.id(field)); r != nil {
		*r = scriptRecord{}
	}
	s.keys = slices.DeleteFunc(s.keys, func(k scriptKey) bool { return k.field == field })
}
