// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// chunk is how many keys one flush of a shard brings: the server does nothing else for a millisecond or two then, and
// up to five where they are new. A script can take apart 8,000 values at once (LUAI_MAXCSTACK of Lua 5.1), of which
// there are at most four for each key.
const chunk = 1000

var (
	errShards      = errors.New("the totals on the server were begun with another number of `shards`")
	errWrongAnswer = errors.New("server does not answer as its script does")
)

// slot is what this process has contributed to one shard, as the server has it, and what is on its way there. It is
// serial, and does no I/O: next says what to send, and settle takes the answer.
//
// The contribution to a key is the value of its entry less its base, and what is forgotten of it. It never falls under
// one name, in one place, for one tenant. A flush has a token, and it
// is sent again and again, unchanged, until it is answered: so the server has either the token before or this one, and
// with the token it is known what it has, and what is new. Another one says that somebody else writes under this name,
// or that the server has rolled back to an earlier state: then it takes nothing but says which token it has, and all
// contributions are sent again, of which it adds what is more than it knows.
type slot struct {
	shard *localShard

	places  []*entry // by place; nil = it is free
	free    []int    // places
	tenants uint32   // that places have had

	session    string // of this process: begins its tokens
	tokens     int    // that it has made
	name       string // of the writer, of which there are no two
	generation string // of the shard, that flushes are for; empty = not known
	// of what the server knows of writers, as it was last heard: it begins another when that is deleted
	epoch    int64
	sequence int64     // of the last acknowledged flush under this name
	acked    string    // the token that the server was last heard to have; empty = none
	seen     int64     // time of the last answer by the server's clock
	heard    time.Time // of the last answer; zero = none yet
	pending  *flush    // nil = nothing is on its way

	backlog []*entry // may have more to send than is pending; each is there once
	taken   []*entry // scratch
	asking  []*entry // may be forgotten by the server, which is asked of them next

	// resyncing says that the contributions on the server may not be those which are acknowledged: all are sent again,
	// and resent is how many entries have been.
	resyncing bool
	resynced  int
	// restored says that the state is of an earlier process, and the server has not answered since: it may be a copy,
	// whose original lives on.
	restored bool
}

// flush is what is sent.
type flush struct {
	token    string
	entries  []*entry // each sent as far as entry.sent, in the order of their places
	absolute bool     // it has whole contributions, which the server compares with those that it has; else what is new
}

// answer is what the script says.
type answer struct {
	status     string
	generation string
	now        int64  // the server's time
	full       int64  // totals that could not take all of it
	token      string // that the server has
	epoch      int64  // of what it knows of writers
	// of the keys of the flush that had none, in their order; empty if the flush had been taken before; see
	// statusForgotten
	ids string
}

// What the script finds.
const (
	statusOK           = "ok"
	statusWiped        = "wiped"         // not taken: the shard is in another generation
	statusRolledBack   = "rolled back"   // not taken: the server has lost what it had acknowledged
	statusExpired      = "expired"       // not taken: the slot has expired, its contributions are in the totals
	statusExpiredAfter = "expired after" // the same, and this flush was taken before
	statusFenced       = "fenced"        // not taken: another process writes under this name
	// not taken: keys were dropped that the writer has an id of, or has counted before; ids has their numbers
	statusForgotten = "forgotten"
	statusShards    = "shards" // not taken: wrong number of shards
)

// event is what settle has found out besides that the flush has arrived.
type event string

const (
	eventNone       event = ""
	eventWiped      event = "wiped"       // the shard has lost all totals
	eventRolledBack event = "rolled_back" // the server has lost what it had acknowledged
	eventExpired    event = "expired"     // the server has forgotten this writer
	eventFenced     event = "fenced"      // another process writes under the same name
)

// newSlot returns a slot without contributions.
func newSlot(shard *localShard) *slot {
	return &slot{shard: shard, session: newToken(), name: newToken()}
}

// newToken returns a text that no one else has: 130 random bits.
func newToken() string { return rand.Text() }

// nextToken returns a token by which the server knows that it is of this process.
func (s *slot) nextToken() string {
	s.tokens++
	return s.session + "." + strconv.Itoa(s.tokens)
}

// collect takes over what has changed since the last call.
func (s *slot) collect() {
	s.taken = s.shard.take(s.taken[:0])
	for _, e := range s.taken {
		e.changed.Store(false) // before its value is looked at; see entry.Add
		if e.value.Load() == dropped {
			continue
		}
		if e.place == noPlace {
			s.place(e)
		}
		e.counted = e.local.age()
		s.queue(e)
	}
	if len(s.backlog) > chunk { // so that what is next to each other in the slot is so in a flush
		slices.SortFunc(s.backlog, byPlace)
	}
}

func byPlace(a, b *entry) int { return a.place - b.place }

// place gives e a place, one that is free if there is one. If there are no more numbers for tenants, it is a new one.
func (s *slot) place(e *entry) {
	if last := len(s.free) - 1; last >= 0 && s.tenants < math.MaxUint32 {
		e.place = s.free[last]
		s.free = s.free[:last]
		s.places[e.place] = e
	} else {
		e.place = len(s.places)
		s.places = append(s.places, e)
	}
	s.tenants += min(1, math.MaxUint32-s.tenants)
	e.tenant = s.tenants
}

// all calls f for each entry that has a place.
func (s *slot) all(f func(*entry)) {
	for _, e := range s.places {
		if e != nil {
			f(e)
		}
	}
}

func (s *slot) queue(e *entry) {
	if !e.queued {
		e.queued = true
		s.backlog = append(s.backlog, e)
	}
}

// next returns what to send, nil when there is nothing. Until it is settled that stays the same.
func (s *slot) next() *flush {
	if s.pending != nil {
		return s.pending
	}
	absolute := true
	entries := s.nextResync()
	if entries == nil {
		absolute, entries = false, s.nextChanged()
	}
	if entries == nil {
		return nil
	}
	s.pending = &flush{token: s.nextToken(), entries: entries, absolute: absolute}
	return s.pending
}

// nextResync takes entries whose contributions are sent again. When there are none left, the server has those that are
// acknowledged.
func (s *slot) nextResync() (entries []*entry) {
	for s.resyncing && len(entries) < chunk {
		if s.resynced == len(s.places) {
			s.resyncing = false
			break
		}
		e := s.places[s.resynced]
		s.resynced++
		if e == nil {
			continue
		}
		if e.sent = e.value.Load(); e.sent > e.base {
			entries = append(entries, e)
		}
	}
	return entries
}

// nextChanged takes entries from the backlog.
func (s *slot) nextChanged() (entries []*entry) {
	for len(s.backlog) > 0 && len(entries) < chunk {
		last := len(s.backlog) - 1
		e := s.backlog[last]
		s.backlog[last] = nil
		s.backlog = s.backlog[:last]
		e.queued = false
		e.sent = e.value.Load()
		if e.sent > e.acked {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, byPlace)
	return entries
}

// heartbeat returns a flush without entries: it keeps the slot alive, and finds out whether the server still has all.
// There is none for a slot that has contributed nothing, under any name.
func (s *slot) heartbeat() *flush {
	if s.generation == "" || s.pending != nil {
		return nil
	}
	return &flush{token: s.acked}
}

// settle takes the answer to f, which next or heartbeat has returned.
func (s *slot) settle(f *flush, a answer) (event, error) {
	if a.status != statusShards { // which is not of the shard that the slot is of
		s.seen = a.now // also of one that is forgotten: else its new name would be, again and again
		s.learnEpoch(a)
	}
	// An id is sure as long as the server has the token with whose answer it came, or a later one.
	if a.status != statusOK && a.status != statusForgotten {
		s.all(func(e *entry) { e.id = 0 })
	}
	switch a.status {
	case statusOK:
		return eventNone, s.accepted(f, a)
	case statusWiped:
		known := s.generation
		s.generation, s.sequence, s.acked, s.pending = a.generation, 0, "", nil
		// What other slots of this process have contributed is gone as well.
		s.all(func(e *entry) { e.base, e.acked = e.foreign, e.foreign })
		s.resync()
		if known == "" {
			return eventNone, nil
		}
		return eventWiped, nil
	case statusRolledBack:
		// The sequence is past that of each flush so far, also one that is given up: a server that has it, even from
		// before a restart, is not taken for one to which another process writes.
		s.sequence += 2
		s.acked, s.pending, s.restored = a.token, nil, false
		s.resync()
		return eventRolledBack, nil
	case statusExpired, statusExpiredAfter:
		if a.status == statusExpiredAfter {
			acknowledge(f)
		}
		s.begin(false)
		return eventExpired, nil
	case statusFenced:
		s.begin(true)
		return eventFenced, nil
	case statusForgotten:
		return eventNone, s.beginAnew(f, a.ids)
	case statusShards:
		return eventNone, fmt.Errorf("%w: %s", errShards, a.generation)
	default:
		return eventNone, fmt.Errorf("%w: status %q", errWrongAnswer, a.status)
	}
}

// learnEpoch enters the epoch of the server. A name that has contributed keeps the earliest in which the server has had
// it: in a later one, a server that has nothing of it would take it for one that has not contributed yet.
func (s *slot) learnEpoch(a answer) {
	if a.status == statusOK || a.status == statusRolledBack || a.status == statusForgotten {
		s.epoch = min(s.epoch, a.epoch)
	} else {
		s.epoch = a.epoch
	}
}

// accepted enters that the server has taken f.
func (s *slot) accepted(f *flush, a answer) error {
	s.restored = false
	err := learn(f, a.ids)
	acknowledge(f)
	if len(f.entries) > 0 {
		s.sequence++
		s.acked, s.pending = f.token, nil
	}
	return err
}

// learn enters ids.
func learn(f *flush, ids string) error {
	for _, e := range f.entries {
		if e.id != 0 || ids == "" {
			continue
		}
		var err error
		if e.id, err = parseID(ids[:idLength]); err != nil {
			return err
		}
		ids = ids[idLength:]
	}
	if ids != "" {
		return fmt.Errorf("%w: %d ids too many", errWrongAnswer, len(ids)/idLength)
	}
	return nil
}

func acknowledge(f *flush) {
	for _, e := range f.entries {
		e.acked = e.sent
	}
}

// resync begins a full resync: the slot sends all that it has contributed once more.
func (s *slot) resync() { s.resyncing, s.resynced = true, 0 }

// begin goes on under a new name, with what is not in the totals yet. fenced says that another process goes on under
// the old one, with what that has contributed.
func (s *slot) begin(fenced bool) {
	s.name, s.sequence, s.acked, s.pending, s.resyncing = newToken(), 0, "", nil, false
	restored := s.restored
	s.restored = false
	s.all(func(e *entry) {
		if fenced && restored {
			e.acked = e.kept // the original has all of what was copied
		}
		e.base, e.forgotten = e.acked, 0
		if fenced {
			e.foreign = e.base
		}
		if e.value.Load() > e.base {
			s.queue(e)
		}
	})
}

// isDone says whether the server has had something of the slot, and has all.
func (s *slot) isDone() bool { return s.acked != "" && s.waiting() == 0 }

// waiting returns how many keys may have something that the server does not have.
func (s *slot) waiting() int {
	n := len(s.backlog)
	if s.pending != nil {
		n += len(s.pending.entries)
	}
	if s.resyncing {
		n += len(s.places) - s.resynced
	}
	return n
}

// unsent returns how much has not been acknowledged.
func (s *slot) unsent() (amount int64) {
	s.all(func(e *entry) { amount += e.value.Load() - e.acked })
	return amount
}
