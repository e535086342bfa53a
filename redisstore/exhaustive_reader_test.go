// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"strconv"
	"time"
)

// watched is a reader and what it has shown. Its time passes in one way alone: when all writers have had the time to
// send everything, that for which it does not show a shard in a resync is over.
type watched struct {
	on        bool
	shardView shardView
	now       time.Time
	floor     [2]int64 // what it has shown, less what nobody brings back
	awaited   [2]bool  // by place: has not sent everything since the reader learned of a resync
	unheard   [2]bool  // by place: has had no answer since the last fault, so nobody knows of that yet
	fallen    string
}

const worldSettleTime = 23 * time.Second

// look is a look at the totals.
func (r *watched) look(w *world) {
	before := r.shardView.until
	if until := r.shardView.update(w.server.generation, textOfTime(w.server.resync), r.now, worldSettleTime); r.now.Before(until) {
		if until != before {
			for place, p := range w.places {
				r.awaited[place] = p != nil && p.slot.generation != ""
			}
			r.pass()
		}
		return
	}
	if r.unheard != [2]bool{} {
		return
	}
	for key := range w.rules.keys {
		total := w.server.total(worldFields[key])
		if total < r.floor[key] {
			r.fallen = fmt.Sprintf("a reader has shown %d of %s, and shows %d", r.floor[key], nameOfField(worldFields[key]), total)
		}
		r.floor[key] = total
	}
}

// textOfTime returns a time as a reader finds it, empty for none.
func textOfTime(t int64) string {
	if t == 0 {
		return ""
	}
	return strconv.FormatInt(t, 10)
}

// pass lets the time pass if nobody is awaited.
func (r *watched) pass() {
	if r.awaited == [2]bool{} && r.now.Before(r.shardView.until) {
		r.now = r.shardView.until
	}
}

// heard notes that a writer was answered.
func (r *watched) heard(place int, p *process) {
	r.unheard[place] = false
	if p.slot.waiting() == 0 {
		r.awaited[place] = false
	}
	r.pass()
}

// faulted notes that the server may have lost something that nobody knows of.
func (r *watched) faulted(w *world) {
	for place, p := range w.places {
		r.unheard[place] = p != nil && p.slot.generation != ""
	}
	r.lower(w)
}

// replaced notes that another process runs at a place, or none.
func (r *watched) replaced(w *world, place int) {
	r.awaited[place], r.unheard[place] = false, false
	r.lower(w)
	r.pass()
}

// lower takes out of what was shown what nobody will bring back.
func (r *watched) lower(w *world) {
	if !r.on {
		return
	}
	end := w.clone()
	end.reader = watched{}
	for place, p := range end.places {
		if p != nil {
			end.own(place).slot.dropUnsent()
		}
	}
	end.settle()
	for key := range w.rules.keys {
		r.floor[key] = min(r.floor[key], end.server.total(worldFields[key]))
	}
}

// dropUnsent drops what was not acknowledged: it makes up for nothing that is lost.
func (s *slot) dropUnsent() {
	s.pending, s.backlog = nil, nil
	for _, e := range s.shard.entries {
		e.queued = false
		e.value.Store(e.acked)
	}
}
