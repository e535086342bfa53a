// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"slices"
	"time"
)

// droppedShare is what sweeps have dropped of what had been added to a field under a name.
type droppedShare struct {
	field, name string
	n           int64
}

// droppedShare returns what was dropped of what had been added to a field under a name.
func (s *scriptServer) droppedShare(field, name string) int64 {
	for _, d := range s.dropped {
		if d.field == field && d.name == name {
			return d.n
		}
	}
	return 0
}

// noteDropped notes what is dropped with a key.
func (s *scriptServer) noteDropped(k scriptKey) {
	for _, share := range s.records[k.id-1].shares {
		n := share.n + s.droppedShare(k.field, share.name)
		s.dropped = slices.DeleteFunc(s.dropped, func(d droppedShare) bool { return d.field == k.field && d.name == share.name })
		s.dropped = append(s.dropped, droppedShare{k.field, share.name, n})
	}
}

// sweptKey is a key that a sweep has dropped.
type sweptKey struct {
	scriptKey
	counted int64 // when it was last, by a clock that nobody sets
}

// sweep is forget.lua, which looks at all fields at once when there are few. It returns the keys that it has dropped.
func (s *scriptServer) sweep(idle, interval int64, clock clockTime) (dropped []sweptKey) {
	if s.generation == "" {
		return nil
	}
	heard := s.swept
	s.swept = clock.now
	if heard == 0 || (clock.now < heard || clock.now-heard > 2*interval) && s.without != noContinuity {
		s.began, s.since = clock.now, clock.now
		return nil
	}
	if clock.now-s.began < interval {
		return nil
	}
	if s.began = clock.now; clock.now-s.since < idle {
		return nil
	}
	for _, k := range s.keys {
		switch r := &s.records[k.id-1]; {
		case r.last > clock.now:
			r.last = clock.now
		case clock.now-r.last >= idle:
			dropped = append(dropped, sweptKey{k, r.counted})
			s.noteDropped(k)
		}
	}
	for _, k := range dropped {
		s.erase(k.field)
	}
	return dropped
}

// ask is ask.lua: 1 for each field that is there, nothing if the server is in another state.
func (s *scriptServer) ask(name, generation, token string, fields []string) (found []any) {
	known := ""
	if h := s.head(name); h != nil {
		known = h.token
	}
	if s.generation != generation || s.of != s.scope() || known != token && s.without != noAskToken {
		return []any{}
	}
	totals := s.totalsHash()
	for _, field := range fields {
		n := int64(0)
		if _, ok := totals[field]; ok {
			n = 1
		}
		found = append(found, n)
	}
	return found
}

// A key is idle for so long, and so often is a shard swept.
const worldIdle, worldInterval = 8 * time.Minute, 4 * time.Minute

// sweep is a sweep, or as many as drop what is idle.
func (w *world) sweep(times int) {
	for i := range times {
		if i > 0 {
			w.wait(worldInterval)
		}
		w.noteSwept(w.ownServer().sweep(worldIdle.Milliseconds(), worldInterval.Milliseconds(), w.tick()))
	}
}

// noteSwept notes that keys were dropped: a reader ends their series.
func (w *world) noteSwept(dropped []sweptKey) {
	for _, k := range dropped {
		w.reader.floor[keyOfField(k.field)] = 0
		w.said += "drops " + nameOfField(k.field)
		if idle := time.Duration(w.clock-w.stepped-k.counted) * time.Millisecond; idle < worldIdle {
			w.early = fmt.Sprintf("%s is dropped, and was counted %v ago", nameOfField(k.field), idle)
		}
	}
	if len(dropped) > 0 {
		w.reader.lower(w)
	}
}

// ask is what a writer does of the keys that it does not count: writer.step for one shard. It says whether it has
// asked.
func (w *world) ask(place int) bool {
	p := w.own(place)
	s := p.slot
	s.collect()
	s.lookForIdle(0)
	asked := s.nextIdle(0)
	if len(asked) == 0 {
		return false
	}
	args := s.askArgs(asked)
	var fields []string
	for _, field := range args[3:] {
		fields = append(fields, field.(string))
	}
	gone, err := parseMissing(asked, w.server.ask(args[0].(string), args[1].(string), args[2].(string), fields))
	if err != nil {
		panic(err)
	}
	if len(gone) == 0 {
		return false
	}
	w.said = "is gone"
	s.drop(gone)
	if p.stored {
		p.disk = s.state(worldNames.prefix, 1)
	}
	return true
}
