// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
)

// world is all of a fleet: a shard on its server, the writers, and the calls that may still arrive. What it points to
// is never changed, so that two worlds share what is the same in both: see own.
type world struct {
	rules *scenario

	server   *scriptServer
	snapshot *scriptServer // what a replica or a backup has; nil = there is none
	clock    int64         // of the server
	stepped  int64         // how much somebody has set it ahead
	late     []*flushCall  // may arrive once more, the latest last

	places   [2]*process // nil = nobody runs there
	lineages []lineage
	counts   int // that are left to count
	early    string

	reader watched
	said   string // what the last step has led to
}

// process is a writer: the real slot, and what its storage has.
type process struct {
	slot    *slot
	stored  bool       // it has a storage
	disk    *slotState // nil = nothing was saved
	lineage int
}

// lineage is a process, those which go on from its storage, and its copies. The server knows none of that: the
// invariants do. Arrays are by number of the key.
type lineage struct {
	names   []string // that it has written under
	counted [2]int64 // what copies have in common counts once
	copies  bool     // it has had several processes at once

	returned bool // a wiped server has got totals back that have something of it

	// What limits are about: lost may be missing when everything has settled, short may until then, and twice may be
	// counted twice.
	lost, short, twice [2]int64
}

// add adds a name.
func (l *lineage) add(name string) {
	if !slices.Contains(l.names, name) {
		l.names = append(slices.Clone(l.names), name)
	}
}

var (
	worldNames   = names{"x"}
	worldPeriods = periods{slot: time.Hour, writer: writerExpiries * time.Hour}
	worldFields  = [2]string{`:["a",{},{}]`, `:["b",{},{}]`}
	worldLocal   = newLocal(1, 10)
)

// worldBegin is when worlds begin, by the clock of the server.
const worldBegin = 1_800_000_000_000

func newWorld(rules *scenario) *world {
	w := &world{rules: rules, server: newServer(rules), clock: worldBegin, counts: rules.counts}
	for place := range w.places {
		if place < rules.writers {
			w.start(place)
		}
	}
	return w
}

// start starts a new process.
func (w *world) start(place int) {
	p := &process{slot: newSlot(newLocalShard()), lineage: len(w.lineages), stored: place < w.rules.storage}
	w.lineages = append(w.lineages, lineage{names: []string{p.slot.name}})
	w.places[place] = p
}

func newLocalShard() *localShard {
	return &localShard{entries: map[string]*entry{}, forgotten: map[string]capability.Forgotten{}}
}

func newServer(rules *scenario) *scriptServer { return &scriptServer{without: rules.without} }

// clone returns a world that may be changed, but for what it points to.
func (w *world) clone() *world {
	c := *w
	c.late, c.lineages, c.said = slices.Clone(w.late), slices.Clone(w.lineages), ""
	return &c
}

// own makes the process at a place one that may be changed.
func (w *world) own(place int) *process {
	p := *w.places[place]
	p.slot = cloneSlot(p.slot)
	w.places[place] = &p
	return &p
}

// ownServer makes the server one that may be changed.
func (w *world) ownServer() *scriptServer {
	s := w.server.clone()
	w.server = &s
	return w.server
}

// cloneSlot returns a slot that shares nothing with another.
func cloneSlot(s *slot) *slot {
	c := *s
	c.shard, c.taken, c.asking = newLocalShard(), nil, nil
	for key, e := range s.shard.entries {
		c.shard.entries[key] = cloneEntry(e, c.shard)
	}
	maps.Copy(c.shard.forgotten, s.shard.forgotten)
	c.places, c.free = c.entries(s.places), slices.Clone(s.free)
	c.shard.changed, c.backlog = c.entries(s.shard.changed), c.entries(s.backlog)
	if s.pending != nil {
		c.pending = &flush{token: s.pending.token, absolute: s.pending.absolute, entries: c.entries(s.pending.entries)}
	}
	return &c
}

// entries returns the entries of the slot that have the keys of others; nil has none.
func (s *slot) entries(others []*entry) (list []*entry) {
	for _, e := range others {
		if e != nil {
			e = s.shard.entries[e.key()]
		}
		list = append(list, e)
	}
	return list
}

func cloneEntry(e *entry, shard *localShard) *entry {
	c := &entry{
		local: worldLocal, shard: shard, field: e.field, start: e.start, place: e.place, tenant: e.tenant,
		id: e.id, queued: e.queued, sent: e.sent, acked: e.acked, base: e.base, foreign: e.foreign, kept: e.kept, forgotten: e.forgotten,
	}
	c.value.Store(e.value.Load())
	c.changed.Store(e.changed.Load())
	return c
}

// keyOf returns the number of the key of an entry.
func keyOf(e *entry) int { return keyOfField(e.field) }

func keyOfField(field string) int { return int(field[3] - 'a') }

func nameOfField(field string) string { return field[3:4] }

// entry returns the entry of a key, nil if the process has none.
func (p *process) entry(key int) *entry { return p.slot.shard.entries[worldFields[key][1:]] }

// dropped returns what the process takes for forgotten of a key.
func (p *process) dropped(key int) int64 {
	return int64(p.slot.shard.forgotten[nameOfField(worldFields[key])].Total)
}

// count counts one record.
func (w *world) count(place, key int) {
	p := w.own(place)
	e := p.entry(key)
	if e == nil { // as local.make does
		shard := p.slot.shard
		e = &entry{local: worldLocal, shard: shard, field: worldFields[key], place: noPlace, start: worldBegin}
		shard.entries[e.key()] = e
	}
	e.Add(1, time.Time{})
	w.lineages[p.lineage].counted[key]++
	w.counts--
}

// tick moves the clock by what a call takes.
func (w *world) tick() clockTime {
	w.clock++
	return clockTime{now: w.clock, seconds: strconv.FormatInt(w.clock/1000, 10), micros: strconv.FormatInt(w.clock%1000*1000, 10), stepped: w.stepped}
}

// send makes the next call of a process, nil if it has nothing to say: writer.round for one shard.
func (w *world) send(p *process) (*flush, *flushCall) {
	p.slot.collect()
	f := p.slot.next()
	if f == nil {
		f = p.slot.heartbeat()
	}
	if f == nil {
		return nil, nil
	}
	c := readCall(worldNames.flushKeys(0, p.slot), p.slot.flushArgs(f, 1, worldPeriods))
	if len(f.entries) > 0 {
		if p.stored {
			p.disk = p.slot.state(worldNames.prefix, 1)
		}
		w.keepLate(c)
	}
	return f, c
}

// keepLate notes that a call may arrive once more.
func (w *world) keepLate(c *flushCall) {
	w.late = slices.DeleteFunc(w.late, func(other *flushCall) bool { return equalCalls(c, other) })
	w.late = append(w.late, c)
	w.late = w.late[max(0, len(w.late)-w.rules.late):]
}

// deliver lets a call arrive.
func (w *world) deliver(c *flushCall) answer {
	a := w.ownServer().flush(c, w.tick())
	w.said = a.status
	return a
}

// take gives the answer to the process at a place.
func (w *world) take(place int, f *flush, a answer) {
	p := w.places[place]
	what, err := w.rules.without.settle(p.slot, f, a)
	if err != nil {
		w.said = fmt.Sprint(err)
	} else if what != eventNone && string(what) != a.status {
		w.said += ", " + string(what)
	}
	w.lineages[p.lineage].add(p.slot.name)
	w.reader.heard(place, p)
}

// flush is a round whose call arrives and is answered. It says whether there was a call.
func (w *world) flush(place int) bool {
	p := w.own(place)
	f, c := w.send(p)
	if c == nil {
		return false
	}
	w.take(place, f, w.deliver(c))
	return true
}

// has returns how much of a key a lineage has in the totals.
func (w *world) has(l *lineage, key int) (n int64) {
	for _, name := range l.names {
		n += w.server.share(worldFields[key], name) + w.server.droppedShare(worldFields[key], name)
	}
	return n
}

func placeName(place int) string { return string(rune('A' + place)) }
