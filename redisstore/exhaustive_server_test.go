// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import "slices"

// scriptServer is a server as the scripts see it, with one shard of totals. Its methods flush, leave, erase, sweep
// and ask are the scripts in Go.
type scriptServer struct {
	without defect // what is left out of the scripts

	// The totals.
	generation string // empty = there are no totals
	shards     string
	lastID     uint32
	epoch      int64
	resync     int64 // 0 = never
	forgotten  int64 // 0 = nobody was
	began      int64 // the last sweep did
	swept      int64 // when the last call of a sweep came; 0 = none has
	since      int64 // when sweeps began that had no gap
	keys       []scriptKey
	records    []scriptRecord // by id less one

	// The writers.
	of    string // generation and epoch; empty = there are no writers
	heads []scriptHead

	slots []scriptSlot

	dropped []droppedShare // by sweeps; the script does not know
}

type scriptKey struct {
	field string
	id    uint32
}

type scriptRecord struct {
	exists             bool
	total, start, last int64
	shares             []share // what of the total is whose: the script does not know, the invariants do
	counted            int64   // when something was last added, by a clock that nobody sets
}

// share is what has been added under the name of a writer.
type share struct {
	name string
	n    int64
}

type scriptHead struct {
	name     string
	sequence int64
	token    string
	seen     int64
}

type scriptSlot struct {
	key     string
	places  []placeValue // one that was not written is 0, as SETRANGE fills a gap
	expires int64
}

// clockTime is what TIME returns, as milliseconds, and as the text that is in tokens.
type clockTime struct {
	now     int64
	seconds string
	micros  string
	stepped int64 // how much somebody has set it ahead
}

// clone returns a server that shares nothing with this one.
func (s *scriptServer) clone() scriptServer {
	c := *s
	c.keys, c.heads = slices.Clone(s.keys), slices.Clone(s.heads)
	c.records, c.slots = slices.Clone(s.records), slices.Clone(s.slots)
	for i := range c.records {
		c.records[i].shares = slices.Clone(c.records[i].shares)
	}
	c.dropped = slices.Clone(s.dropped)
	for i := range c.slots {
		c.slots[i].places = slices.Clone(c.slots[i].places)
	}
	return c
}

// dropExpired drops the slots that have expired.
func (s *scriptServer) dropExpired(now int64) {
	s.slots = slices.DeleteFunc(s.slots, func(slot scriptSlot) bool { return slot.expires <= now })
}

// dropTotals drops the totals, and nothing else.
func (s *scriptServer) dropTotals() {
	*s = scriptServer{without: s.without, of: s.of, heads: s.heads, slots: s.slots}
}

// dropWriters drops what is known of the writers.
func (s *scriptServer) dropWriters() { s.of, s.heads = "", nil }

// dropSlot drops a slot.
func (s *scriptServer) dropSlot(key string) {
	s.slots = slices.DeleteFunc(s.slots, func(slot scriptSlot) bool { return slot.key == key })
}

func (s *scriptServer) slot(key string) *scriptSlot {
	for i := range s.slots {
		if s.slots[i].key == key {
			return &s.slots[i]
		}
	}
	return nil
}

// place returns what a slot has in a place, if that is of a tenant.
func (s *scriptServer) place(key string, place int, tenant uint32) (n int64, isThere bool) {
	slot := s.slot(key)
	if slot == nil || place < 0 || place >= len(slot.places) || slot.places[place].tenant != tenant && s.without != noTenants {
		return 0, false
	}
	return slot.places[place].n, true
}

func (s *scriptServer) head(name string) *scriptHead {
	for i := range s.heads {
		if s.heads[i].name == name {
			return &s.heads[i]
		}
	}
	return nil
}

func (s *scriptServer) id(field string) uint32 {
	for _, k := range s.keys {
		if k.field == field {
			return k.id
		}
	}
	return 0
}

// record returns the record of an id, nil if there is none.
func (s *scriptServer) record(id uint32) *scriptRecord {
	if id == 0 || int(id) > len(s.records) || !s.records[id-1].exists {
		return nil
	}
	return &s.records[id-1]
}

// total returns the total of a field, as a reader finds it.
func (s *scriptServer) total(field string) int64 {
	if r := s.record(s.id(field)); r != nil {
		return r.total
	}
	return 0
}

// share returns what of the total of a field was added under a name.
func (s *scriptServer) share(field, name string) int64 {
	if r := s.record(s.id(field)); r != nil {
		for _, share := range r.shares {
			if share.name == name {
				return share.n
			}
		}
	}
	return 0
}

func (r *scriptRecord) addShare(name string, n int64) {
	for i := range r.shares {
		if r.shares[i].name == name {
			r.shares[i].n += n
			return
		}
	}
	r.shares = append(r.shares, share{name, n})
}
