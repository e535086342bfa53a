// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"slices"
	"time"
)

// step is something that happens to a world.
type step struct {
	kind  kind
	place int // whose it is
	key   int
	late  int // the call that arrives
}

// kind is the kind of a step.
type kind int

const (
	counts      kind = iota
	flushes          // a round; its call arrives, and the answer
	losesCall        // a round whose call does not arrive, or not now
	losesAnswer      // a round whose call arrives, and not the answer
	comesLate        // a call arrives once more, or after all; nobody waits for the answer
	wipes            // FLUSHALL
	dropsTotals      // the server evicts the totals
	dropsWriters
	dropsSlot
	copiesServer // a snapshot, or a replica that gets nothing from now on
	goesBack     // to that
	waitsShort   // less than a slot lives
	waitsSlot    // so long that slots expire
	waitsWriter  // so long that writers may be forgotten
	waitsWeek    // eight times that
	turnsBack    // the clock of the server
	crashes      // and another process starts in its place, from nothing
	restarts     // after a crash, with what the storage has
	stops        // with all written to the storage, and starts
	clones       // a copy of the storage starts at the other place
	leaves       // a clean shutdown without storage, and nobody starts
	joins        // a new process starts where nobody runs
	erases
	looks      // the reader does
	sweepsOnce // a writer does
	sweepsOn   // so long that what is idle is dropped
	asks       // a writer does whether keys are gone
	waitsSweep // until the next sweep
	turnsAhead // the clock of the server
)

// periodOf says for how long a step waits.
var periodOf = map[kind]time.Duration{
	waitsShort: 40 * time.Minute, waitsSlot: 61 * time.Minute, waitsWriter: 7*time.Hour + 2*time.Minute, waitsWeek: 57 * time.Hour, turnsBack: -9 * time.Hour,
	waitsSweep: worldInterval, turnsAhead: 9 * time.Hour,
}

var textOf = map[kind]string{
	counts: "counts 1 of", flushes: "flushes", losesCall: "flushes, the call is lost", losesAnswer: "flushes, the answer is lost",
	comesLate: "the call arrives late:", wipes: "the server is wiped", dropsTotals: "the server drops the totals",
	dropsWriters: "the server drops what it knows of writers", dropsSlot: "the server drops the slot of", copiesServer: "a snapshot is taken",
	goesBack: "the server goes back to the snapshot", waitsShort: "40 minutes pass", waitsSlot: "61 minutes pass, slots live for 60",
	waitsWriter: "422 minutes pass, writers are known for 420", waitsWeek: "57 hours pass", turnsBack: "the clock goes back by 9 hours",
	crashes: "crashes, another starts from nothing", restarts: "crashes and goes on from its storage", stops: "stops and goes on from its storage",
	clones: "has its storage copied, and the copy starts as", leaves: "leaves", joins: "starts", erases: "is erased:", looks: "the reader looks", sweepsOnce: "the server is swept",
	sweepsOn: "the server is swept again and again", asks: "asks", waitsSweep: "4 minutes pass", turnsAhead: "the clock goes ahead by 9 hours",
}

func (s step) String() string {
	switch s.kind {
	case counts:
		return fmt.Sprint(placeName(s.place), " ", textOf[s.kind], " ", nameOfField(worldFields[s.key]))
	case flushes, losesCall, losesAnswer, crashes, restarts, stops, leaves, joins, asks:
		return placeName(s.place) + " " + textOf[s.kind]
	case clones:
		return placeName(s.place) + " " + textOf[s.kind] + " " + placeName(1-s.place)
	case dropsSlot:
		return textOf[s.kind] + " " + placeName(s.place)
	case comesLate:
		return fmt.Sprint(textOf[s.kind], " number ", s.late+1)
	case erases:
		return textOf[s.kind] + " " + nameOfField(worldFields[s.key])
	default:
		return textOf[s.kind]
	}
}

// steps returns what may happen.
func (w *world) steps() (list []step) {
	for _, k := range w.rules.kinds {
		switch k {
		case counts:
			list = append(list, w.countSteps()...)
		case comesLate:
			for i := range w.late {
				list = append(list, step{kind: k, late: i})
			}
		case erases:
			for key := range w.rules.keys {
				list = append(list, step{kind: k, key: key})
			}
		case flushes, losesCall, losesAnswer, dropsSlot, crashes, restarts, stops, leaves, clones, joins, asks:
			for place := range w.places {
				if (w.places[place] == nil) == (k == joins) && (k != clones || w.places[1-place] == nil) {
					list = append(list, step{kind: k, place: place})
				}
			}
		default:
			list = append(list, step{kind: k})
		}
	}
	return list
}

func (w *world) countSteps() (list []step) {
	for place, p := range w.places {
		for key := range w.rules.keys {
			if w.counts > 0 && p != nil {
				list = append(list, step{kind: counts, place: place, key: key})
			}
		}
	}
	return list
}

// after returns the world after a step, nil if the step changes nothing.
func (w *world) after(s step) *world {
	next := w.clone()
	if !next.do(s) {
		return nil
	}
	return next
}

// do does a step. It says whether it can be done.
func (w *world) do(s step) bool {
	switch s.kind {
	case counts:
		w.count(s.place, s.key)
		return true
	case flushes:
		return w.flush(s.place)
	case losesCall, losesAnswer:
		return w.loses(s)
	case asks:
		return w.ask(s.place)
	case comesLate:
		w.deliver(w.late[s.late])
		return true
	case looks:
		w.reader.look(w)
		return true
	case crashes, restarts, stops, clones, leaves, joins:
		return w.doProcess(s)
	default:
		return w.doServer(s)
	}
}

// loses is a round of which the call or the answer is lost. What is answered with nothing but a refusal is the same as
// one that is lost.
func (w *world) loses(s step) bool {
	p := w.own(s.place)
	f, c := w.send(p)
	if c == nil || s.kind == losesCall && len(f.entries) == 0 {
		return false
	}
	if s.kind == losesAnswer {
		w.deliver(c)
	}
	if w.rules.without == noSameToken {
		for _, e := range f.entries {
			p.slot.queue(e)
		}
		p.slot.pending = nil
	}
	return true
}

// doProcess does what happens to a process.
func (w *world) doProcess(s step) bool {
	p := w.places[s.place]
	switch s.kind {
	case joins:
		if len(w.lineages) > w.rules.lineages {
			return false
		}
		w.start(s.place)
	case crashes:
		if len(w.lineages) > w.rules.lineages {
			return false
		}
		w.start(s.place)
		w.reader.replaced(w, s.place)
	case restarts:
		if p.disk == nil || !w.mayRestart(p, p.disk.Name) {
			return false
		}
		w.restart(s.place, p.disk)
	case stops:
		if !p.stored || !w.mayRestart(p, p.slot.name) {
			return false
		}
		w.restart(s.place, p.slot.state(worldNames.prefix, 1))
	case clones:
		if place := 1 - s.place; place >= w.rules.storage || p.disk == nil || !w.mayCopy(p) {
			return false
		}
		w.places[1-s.place] = w.restored(p, p.disk)
		w.lineages[p.lineage].copies = true
	case leaves:
		return w.leave(s.place)
	}
	return true
}

// restored returns a process that goes on from what a storage has.
func (w *world) restored(p *process, disk *slotState) *process {
	l := newLocal(1, 10)
	next := &process{slot: newSlot(&l.shards[0]), lineage: p.lineage, stored: true, disk: disk}
	next.slot.restore(l, disk)
	w.lineages[p.lineage].add(next.slot.name)
	return next
}

// restart replaces a process. What it had counted since the storage was written is lost, as it was never sent.
func (w *world) restart(place int, disk *slotState) {
	p := w.places[place]
	next := w.restored(p, disk)
	for key := range w.rules.keys {
		w.lineages[p.lineage].counted[key] -= p.counted(key) - next.counted(key)
	}
	w.places[place] = next
	w.lose(restarts)
	w.reader.lower(w) // which waits for the next process as for this one
}

// counted returns what a process has counted of a key.
func (p *process) counted(key int) int64 {
	if e := p.entry(key); e != nil {
		return e.value.Load() + p.dropped(key)
	}
	return p.dropped(key)
}

// leave is a clean shutdown: writer.leave.
func (w *world) leave(place int) bool {
	p := w.places[place]
	if p.stored || !p.slot.isDone() || len(p.slot.shard.changed) > 0 {
		return false
	}
	keys, args := worldNames.flushKeys(0, p.slot), p.slot.leaveArgs(worldPeriods)
	w.ownServer().leave(keys[2], args[0].(string), args[1].(string), args[2].(int64), args[3].(int64), w.tick())
	w.places[place] = nil
	w.reader.replaced(w, place)
	return true
}

// doServer does what happens to the server.
func (w *world) doServer(s step) bool {
	if slices.Contains([]kind{wipes, dropsTotals, goesBack}, s.kind) && !w.mayLose() {
		return false
	}
	switch s.kind {
	case copiesServer:
		if w.snapshot == w.server {
			return false
		}
		w.snapshot = w.server
		return true
	case wipes:
		w.server = newServer(w.rules)
	case goesBack:
		if w.snapshot == nil || w.snapshot == w.server {
			return false
		}
		w.server, w.snapshot = w.snapshot, nil
		w.ownServer().dropExpired(w.clock)
		w.noteReturn()
		w.late = slices.DeleteFunc(w.late, func(c *flushCall) bool { return !w.mayArrive(c) })
	case dropsTotals:
		w.ownServer().dropTotals()
	case dropsWriters:
		w.ownServer().dropWriters()
	case dropsSlot:
		key := worldNames.flushKeys(0, w.places[s.place].slot)[2]
		if w.server.slot(key) == nil {
			return false
		}
		w.ownServer().dropSlot(key)
	case erases:
		return w.erase(s.key)
	case sweepsOnce:
		w.sweep(1)
	case sweepsOn:
		w.sweep(int(worldIdle/worldInterval) + 1)
	case turnsBack, turnsAhead:
		w.stepped += periodOf[s.kind].Milliseconds()
		w.wait(periodOf[s.kind])
	default:
		w.wait(periodOf[s.kind])
	}
	w.lose(s.kind)
	w.reader.faulted(w)
	return true
}

// wait moves the clock. No call is on its way for as long as a slot lives.
func (w *world) wait(period time.Duration) {
	w.clock += period.Milliseconds()
	w.ownServer().dropExpired(w.clock)
	if period > worldPeriods.slot || period < -worldPeriods.slot {
		w.late = nil
	}
}

// erase erases a key: what it had is not owed any more, by anybody.
func (w *world) erase(key int) bool {
	if w.server.id(worldFields[key]) == 0 {
		return false
	}
	for i := range w.lineages {
		l := &w.lineages[i]
		n := w.has(l, key)
		l.lost[key], l.short[key] = l.lost[key]+n, l.short[key]+n
	}
	w.ownServer().erase(worldFields[key])
	w.reader.lower(w)
	w.reader.floor[key] = 0
	return true
}
