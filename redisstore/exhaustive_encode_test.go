// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// encoder writes a world so that two of which nobody can tell the difference are the same: random names are numbers in
// the order in which they appear, times are relative to the clock, and what no one ever looks at is left out.
type encoder struct {
	buf   []byte
	names []string
	times []int64
	w     *world
}

// hash returns a number that two worlds have in common which are the same, or are so when the two writers change
// places.
func (e *encoder) hash(w *world) uint64 {
	return min(e.sum(w, 0), e.sum(w, 1))
}

// sum is the hash of the world with the process of one place first.
func (e *encoder) sum(w *world, first int) uint64 {
	e.buf, e.names, e.times, e.w = e.buf[:0], e.names[:0], e.times[:0], w
	e.int(int64(w.counts))
	for _, place := range []int{first, 1 - first} {
		e.bool(place < w.rules.storage)
		e.process(w.places[place])
	}
	e.server(w.server, first)
	if e.bool(w.snapshot != nil); w.snapshot != nil {
		e.server(w.snapshot, first)
	}
	for _, c := range w.late {
		e.call(c)
	}
	for _, i := range e.lineages(first) {
		e.lineage(i)
	}
	e.reader(&w.reader, first)
	e.order()
	return xxhash.Sum64(e.buf)
}

func (e *encoder) int(n int64) { e.buf = binary.AppendVarint(e.buf, n) }

func (e *encoder) bool(b bool) {
	if b {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) name(name string) {
	if name == "" {
		e.int(0)
		return
	}
	i := slices.Index(e.names, name)
	if i < 0 {
		i = len(e.names)
		e.names = append(e.names, name)
	}
	e.int(int64(i + 1))
}

// generation writes one by what the name of a slot has of it.
func (e *encoder) generation(g string) { e.name(g[:min(8, len(g))]) }

// token writes one, and whose it is.
func (e *encoder) token(token string) {
	session, _, _ := strings.Cut(token, ".")
	if strings.HasPrefix(token, "?") {
		session = "?"
	}
	e.name(session)
	e.name(token)
}

// time writes one to the minute, as all periods are so much longer; see order.
func (e *encoder) time(t int64) {
	if t == 0 {
		e.int(0)
		return
	}
	e.int((t-e.w.clock+worldBegin+30_000)/60_000 + 1)
	e.times = append(e.times, t)
}

// order writes which times are before which: it matters where somebody may be forgotten.
func (e *encoder) order() {
	if !e.w.rules.timed() {
		return
	}
	for _, t := range e.times {
		n := 0
		for _, other := range e.times {
			if other < t {
				n++
			}
		}
		e.buf = append(e.buf, byte(n))
	}
}

func (e *encoder) process(p *process) {
	if e.bool(p != nil); p == nil {
		return
	}
	s := p.slot
	e.name(s.session)
	e.name(s.name)
	e.generation(s.generation)
	e.token(s.acked)
	e.int(s.epoch)
	e.int(s.sequence)
	e.time(s.seen)
	e.bool(s.restored)
	if e.bool(s.resyncing); s.resyncing {
		e.int(int64(s.resynced))
	}
	if e.bool(s.pending != nil); s.pending != nil {
		e.token(s.pending.token)
		e.bool(s.pending.absolute)
		for _, en := range s.pending.entries {
			e.int(int64(keyOf(en)))
			e.int(en.sent)
		}
	}
	e.int(int64(s.tenants))
	for _, place := range s.free {
		e.int(int64(place))
	}
	for key := range e.w.rules.keys {
		if en := p.entry(key); en != nil {
			e.entry(en, s.restored)
		}
		e.int(p.dropped(key))
	}
	if e.bool(p.disk != nil); p.disk != nil {
		e.disk(p.disk)
	}
}

func (e *encoder) entry(en *entry, restored bool) {
	e.int(int64(keyOf(en)))
	e.int(en.value.Load())
	e.int(int64(en.id))
	e.int(en.acked)
	e.int(en.base)
	e.int(en.foreign)
	e.int(en.forgotten)
	e.int(int64(en.place))
	e.int(int64(en.tenant))
	e.bool(en.queued || en.changed.Load())
	if restored {
		e.int(en.kept)
	}
}

func (e *encoder) disk(d *slotState) {
	e.name(d.Name)
	e.generation(d.Generation)
	e.token(d.Acked)
	e.token(d.Token)
	e.int(d.Epoch)
	e.int(d.Sequence)
	e.time(d.Seen)
	for i := range d.Entries {
		en := &d.Entries[i]
		e.buf = append(e.buf, en.Key...)
		e.int(en.Value)
		e.int(en.Acked)
		e.int(en.Base)
		e.int(en.Foreign)
		e.int(en.Forgotten)
		e.int(int64(en.Place))
		e.int(int64(en.Tenant))
		if e.bool(en.Sent != nil); en.Sent != nil {
			e.int(*en.Sent)
		}
	}
	e.int(int64(d.Tenants))
	for key := range e.w.rules.keys {
		e.int(int64(d.Forgotten[nameOfField(worldFields[key])]))
	}
}

func (e *encoder) server(s *scriptServer, first int) {
	e.generation(s.generation)
	e.int(s.epoch)
	e.time(s.forgotten)
	e.bool(s.of == "")
	e.bool(s.of == s.scope())
	e.bool(s.resync == e.w.server.resync)
	e.int(int64(s.lastID))
	for _, k := range s.keys {
		e.buf = append(e.buf, k.field...)
		e.int(int64(k.id))
	}
	for i := range s.records {
		e.bool(s.records[i].exists)
	}
	if e.w.rules.sweeps() {
		e.sweeps(s)
	}
	for _, i := range e.lineages(first) {
		for _, name := range e.w.lineages[i].names {
			e.name(name)
			e.writer(s, name)
		}
	}
}

// sweeps writes what a server knows of when keys were counted, and of sweeps.
func (e *encoder) sweeps(s *scriptServer) {
	for _, t := range []int64{s.began, s.swept, s.since} {
		e.time(t)
	}
	for i := range s.records {
		if r := &s.records[i]; r.exists {
			e.time(r.last)
			e.time(r.counted + e.w.stepped)
		}
	}
}

// writer writes what a server knows of one.
func (e *encoder) writer(s *scriptServer, name string) {
	if h := s.head(name); h != nil {
		e.int(h.sequence + 1)
		e.token(h.token)
		e.time(h.seen)
	} else {
		e.int(0)
	}
	for i := range s.records {
		for _, share := range s.records[i].shares {
			if share.name == name {
				e.int(share.n)
			}
		}
		e.int(-1)
	}
	for key := range e.w.rules.keys {
		e.int(s.droppedShare(worldFields[key], name))
	}
	const before, format = len("{x:0}:writer:"), len(".2.")
	for i := range s.slots {
		slot := &s.slots[i]
		if slot.key[before:before+len(name)] != name {
			continue
		}
		e.name(slot.key[before+len(name)+format:])
		e.time(slot.expires)
		for _, v := range slot.places {
			e.place(v)
		}
		e.int(-1)
	}
	e.int(-2)
}

func (e *encoder) place(v placeValue) {
	e.int(v.n)
	e.int(int64(v.tenant))
}

func (e *encoder) call(c *flushCall) {
	e.name(c.session)
	e.name(c.writer)
	e.generation(c.generation)
	e.token(c.acked)
	e.token(c.token)
	e.int(c.sequence)
	e.time(c.seen)
	e.bool(c.absolute)
	e.int(c.epoch)
	for _, en := range c.entries {
		e.int(en.amount)
		e.bool(en.start == 0)
		e.int(int64(en.place))
		e.int(int64(en.id))
		e.place(en.nothing)
	}
	for _, field := range c.fields {
		e.buf = append(e.buf, field...)
	}
	for _, run := range c.runs {
		e.int(int64(run.place))
		for _, v := range run.values {
			e.place(v)
		}
	}
}

// lineages returns their numbers: those that run, by place, then the others.
func (e *encoder) lineages(first int) []int {
	var list [8]int
	all := list[:0]
	for _, place := range []int{first, 1 - first} {
		if p := e.w.places[place]; p != nil && !slices.Contains(all, p.lineage) {
			all = append(all, p.lineage)
		}
	}
	for i := range e.w.lineages {
		if !slices.Contains(all, i) {
			all = append(all, i)
		}
	}
	return all
}

func (e *encoder) lineage(i int) {
	l := &e.w.lineages[i]
	e.bool(l.copies)
	e.bool(l.returned)
	for key := range e.w.rules.keys {
		for _, n := range []int64{l.counted[key], l.lost[key], l.short[key], l.twice[key]} {
			e.int(n)
		}
	}
}

func (e *encoder) reader(r *watched, first int) {
	if e.bool(r.on); !r.on {
		return
	}
	e.bool(r.fallen != "")
	e.generation(r.shardView.generation)
	e.bool(r.shardView.resync == "")
	e.bool(r.shardView.resync != "" && r.shardView.resync == textOfTime(e.w.server.resync))
	if e.w.snapshot != nil {
		e.bool(r.shardView.resync == textOfTime(e.w.snapshot.resync))
	}
	e.bool(r.now.Before(r.shardView.until))
	e.int(r.floor[0])
	e.int(r.floor[1])
	for _, place := range []int{first, 1 - first} {
		e.bool(r.awaited[place])
		e.bool(r.unheard[place])
	}
}
