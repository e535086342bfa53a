// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"time"

	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// tick is the least time between two points of a series: Prometheus keeps times to the millisecond.
const tick = int64(time.Millisecond)

// slack is how far a point may be ahead of the clock so that it comes after the one before. A clock that has gone back
// further was wrong before, and points have its new time.
const slack = int64(time.Second)

// series is what an Emitter knows of one series: of one key, as a rule, and else of all keys with the same labels.
// There may be a million of them, so it has what cannot be found in the text of the key, and times as Unix time in
// nanoseconds.
type series struct {
	text  string // of one of the keys; its values have the kinds that are emitted
	group *group
	keys  *several // nil = there is but one key

	origin   int64 // when it was first counted, by the store
	start    int64 // the start time that is emitted: never ahead of the clock
	sentTime int64 // the time of the last accepted point, of this start time or an earlier one; 0 = none
	sent     int   // of the total, what the next consumer has accepted; unmet: what was restored
	value    int   // of the total, at the last collection
	changed  int64 // the moment of the collection that first found it; unmet: when it was last counted

	read   reading // of the listing with the number listed
	listed uint32  // number of the last collection that found the series in the store
	values uint32  // attributes that the key has, those of the resource among them

	state     state
	emits     emission // in the present collection
	uncounted bool     // the store does not have the key yet; its description does
	inOrder   bool     // it stands in the Emitter's order, at the right place
}

// reading is what a listing has of a series: the sum over its keys.
type reading struct {
	value int
	start int64
}

// next returns the time of the next point: now, or a tick after the last one should the clock have hardly moved, or
// have gone back a little.
func (s *series) next(now int64) int64 {
	next := now
	for _, last := range [...]int64{s.start, s.sentTime} {
		if least := last + tick; next < least && least-now <= slack {
			next = least
		}
	}
	return next
}

// zeroTime returns the time of a zero point before the first point of a series, so that what a backend takes for the
// increase has the first records in it.
func (s *series) zeroTime() int64 {
	if s.sentTime == 0 {
		return s.start
	}
	return max(s.start, s.sentTime+tick)
}

// seriesOf returns the series of a key that was not met before: that of another key with the same labels, or a new one.
// It returns nil for what is no key.
func (e *Emitter) seriesOf(text string) *series {
	key, err := serieskey.Decode(text)
	if err != nil {
		return nil
	}
	labels := labelsOf(key)
	s := e.byLabels.get(labels)
	if s == nil {
		s, _, _ = e.series.Get([]byte(labels))
	}
	if s == nil {
		s = &series{}
		e.represent(s, key, text)
		if labels != text {
			e.byLabels.put(labels, s)
		}
	} else {
		e.join(s, key, text, labels)
	}
	e.series.Put(text, s)
	return s
}

// join adds a further key to a series.
func (e *Emitter) join(s *series, key serieskey.Key, text, labels string) {
	if s.keys == nil {
		s.keys = &several{totals: map[string]keyTotal{s.text: {reading{s.value, s.origin}, 0}}}
		e.byLabels.put(labels, s) // a key whose text is the labels may go, and leave the others
		if s.listed == e.number {
			e.enterKey(s, s.text, s.read)
		}
	}
	known := s.state == live || s.state == stale
	// else the least text stands for it, whatever the order of the listing is, so that each process emits the same
	if known || text >= s.text {
		return
	}
	if _, there := s.keys.totals[s.text]; !there {
		e.series.Delete(s.text) // that key is gone, and its entry was there for the series alone
	}
	e.represent(s, key, text)
}

// represent has a key stand for a series.
func (e *Emitter) represent(s *series, key serieskey.Key, text string) {
	before := s.group
	s.text, s.group, s.values = text, e.groupOf(key, text), uint32(len(key.Resource)+len(key.Attributes))
	if before == nil {
		e.fresh = append(e.fresh, s)
		return
	}
	e.leaveGroup(before)
	if s.inOrder { // not any more
		s.inOrder, e.gaps = false, true
		e.fresh = append(e.fresh, s)
	}
}

// forget drops a series.
func (e *Emitter) forget(s *series) {
	if s.keys != nil {
		for text := range s.keys.totals {
			e.series.Delete(text)
		}
	}
	e.series.Delete(s.text)
	e.byLabels.remove(labelsOfText(s.text), s)
	delete(e.lower, s)
	e.leaveGroup(s.group)
	s.inOrder, e.gaps = false, true
}

// several is what an Emitter knows of the keys of a series.
type several struct {
	totals map[string]keyTotal // what each key had
	gone   int                 // what keys had that the store has dropped, while others are there
}

// keyTotal is what one of several keys of a series had.
type keyTotal struct {
	reading
	listed uint32
}

// enterKey enters what one of several keys of a series has. One that was reset leaves behind what it had.
func (e *Emitter) enterKey(s *series, key string, r reading) {
	if before, known := s.keys.totals[key]; known && before.start != r.start {
		e.leave(s, before)
	}
	s.keys.totals[key] = keyTotal{r, e.number}
}

// leave keeps the total of a key that is gone in its series, which others go on, so that the series is not reset. The
// totals of a store that settles come back by themselves.
func (e *Emitter) leave(s *series, k keyTotal) {
	if e.settings.Settle <= 0 {
		s.keys.gone, _ = saturating.Add(s.keys.gone, k.value)
	}
}

// whole returns the total of a series: what was read of it, and what there is of the keys that were not listed.
// complete says that those are no longer in the store.
func (e *Emitter) whole(s *series, complete bool) reading {
	r := s.read
	if s.keys == nil {
		return r
	}
	for text, k := range s.keys.totals {
		switch {
		case k.listed == e.number:
		case !complete:
			r.value, _ = saturating.Add(r.value, k.value)
		default:
			e.leave(s, k)
			delete(s.keys.totals, text)
			if text != s.text {
				e.series.Delete(text)
			}
		}
	}
	if s.state != unmet {
		r.start = s.origin
	}
	r.value, _ = saturating.Add(r.value, s.keys.gone)
	return r
}
