// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"time"

	"github.com/logtally/tallyprocessor/internal/identity"
	"github.com/logtally/tallyprocessor/internal/saturating"
)

// tick is the least time between two points of a series: Prometheus keeps times to the millisecond.
const tick = int64(time.Millisecond)

// slack is how far a point may be ahead of the clock so that it comes after the one before. A clock that has gone back further
// was wrong before, and points have its new time.
const slack = int64(time.Second)

// series is what an Emitter knows of one series: of one key, as a rule, and else of all keys with the same labels. There may be a million of
// them, so it has what cannot be found in the text of the key, and times as Unix time in nanoseconds.
type series struct {
	text  string // of one of the keys; its values have the kinds that are emitted
	group *group

	origin   int64 // when it was first counted, by the store
	start    int64 // what is emitted as such: never ahead of the clock
	sent     int   // of the total, what the next consumer has accepted
	sentTime int64 // the time of the last accepted point, of this start or an earlier one; 0 = none

	value   int   // of the total, at the last collection
	changed int64 // the moment of the collection that first found it
	fell    int64 // the moment of the collection that first found value below sent; 0 = it is not

	listed uint64   // number of the last collection that found the series in the store
	read   reading  // of that collection
	first  *history // nil = it was brought up to date once
	keys   *several // nil = there is but one key

	values    uint32 // attributes that the key has, those of the resource among them
	begun     bool   // the next consumer has accepted a point with this start
	ended     bool   // the next consumer knows of no series, or has accepted its end; until value changes
	uncounted bool   // the store does not have the key yet; its description does
	inOrder   bool   // it stands in the Emitter's order, at the right place
}

// reading is what a listing has of a series: the sum over its keys.
type reading struct {
	value int
	start int64
}

// history is what a listing has of a series that matters when it is met.
type history struct {
	restored int
	last     int64
}

// several is what an Emitter knows of the keys of a series.
type several struct {
	totals map[string]keyTotal // what each key had
	gone   int                 // what keys had that the store has dropped, while others are there
}

// keyTotal is what one of several keys of a series had.
type keyTotal struct {
	reading
	listed uint64
}

// seriesOf returns the series of a key that was not met before: that of another key with the same labels, or a new one. It returns
// nil for what is no key.
func (e *Emitter) seriesOf(text string) *series {
	key, err := identity.Decode(text)
	if err != nil {
		return nil
	}
	labels := labelsOf(key)
	s := e.byLabels[labels]
	if s == nil {
		s = e.series[labels]
	}
	switch {
	case s == nil:
		s = &series{first: &history{}}
		e.represent(s, key, text)
		if labels != text {
			e.byLabels[labels] = s
		}
	case s.keys == nil:
		s.keys = &several{totals: map[string]keyTotal{s.text: {reading{s.value, s.origin}, 0}}}
		e.byLabels[labels] = s // a key whose text is the labels may go, and leave the others
		if s.listed == e.number {
			e.enterKey(s, s.text, s.read)
		}
		fallthrough
	default:
		if !s.begun && text < s.text { // whatever the order of the listing is, so that each process emits the same
			if _, there := s.keys.totals[s.text]; !there {
				delete(e.series, s.text) // that key is gone, and its entry was there for the series alone
			}
			e.represent(s, key, text)
		}
	}
	e.series[text] = s
	return s
}

// represent has a key stand for a series.
func (e *Emitter) represent(s *series, key identity.Key, text string) {
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

// labelsOf returns the text of a key whose values are all strings, none of them empty: what is the same for keys that
// Prometheus holds for one series.
func labelsOf(key identity.Key) string {
	return identity.Key{Metric: key.Metric, Resource: asLabels(key.Resource), Attributes: asLabels(key.Attributes)}.String()
}

func asLabels(list []identity.Attribute) []identity.Attribute {
	var labels []identity.Attribute
	for _, a := range list {
		if text := a.Value.AsString(); text != "" {
			labels = append(labels, identity.Attribute{Name: a.Name, Value: identity.StringValue(text)})
		}
	}
	return labels
}

// enterKey enters what one of several keys of a series has. One that has begun anew leaves behind what it had.
func (e *Emitter) enterKey(s *series, key string, r reading) {
	if before, known := s.keys.totals[key]; known && before.start != r.start {
		e.leave(s, before)
	}
	s.keys.totals[key] = keyTotal{r, e.number}
}

// leave keeps the total of a key that is gone in its series, which others go on: so that never falls. The totals of a store that
// settles come back by themselves.
func (e *Emitter) leave(s *series, k keyTotal) {
	if e.settings.Settle <= 0 {
		s.keys.gone, _ = saturating.Add(s.keys.gone, k.value)
	}
}

// whole returns the total of a series: what was read of it, and what there is of the keys that were not listed. complete says that
// those are no longer in the store.
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
				delete(e.series, text)
			}
		}
	}
	if s.first == nil {
		r.start = s.origin
	}
	r.value, _ = saturating.Add(r.value, s.keys.gone)
	return r
}

// update brings a series up to date.
func (e *Emitter) update(s *series, total reading) {
	anew := s.origin != total.start
	switch {
	case s.first != nil:
		e.meet(s, total)
	case s.uncounted && total.value > 0:
		s.origin, s.uncounted = total.start, false // it goes on from the 0 that it had
	case !anew && total.value < s.sent && e.settles(s):
		return
	case anew, total.value < s.sent: // the store has begun anew
		s.restart(total.start, e.now)
	}
	s.fell = 0
	if s.value != total.value {
		s.value, s.changed, s.ended = total.value, e.now, false
	}
}

// meet takes a series up that was not known before.
func (e *Emitter) meet(s *series, total reading) {
	before := s.first
	s.origin, s.start, s.first = total.start, min(total.start, e.now), nil
	if e.settings.Delta {
		s.sent = before.restored // an earlier process has sent that
	}
	stale := int64(e.settings.StaleAfter)
	if stale > 0 && total.value > 0 && before.restored == total.value && e.now-before.last >= stale {
		s.value, s.ended = total.value, true // an earlier process has ended it
	}
}

// restart begins the series anew, after the last point that was sent of it.
func (s *series) restart(origin, now int64) {
	s.origin, s.start = origin, min(origin, now)
	if s.start < s.sentTime {
		s.start = min(s.sentTime, now)
	}
	s.sent, s.value, s.begun, s.ended = 0, 0, false, false
}

// settles says whether a series that has fallen may come back.
func (e *Emitter) settles(s *series) bool {
	if e.settings.Settle <= 0 {
		return false
	}
	if s.fell == 0 {
		s.fell = e.now
	}
	return e.now-s.fell < int64(e.settings.Settle)
}

// next returns the time of the next point: now, or a tick after the last one should the clock have hardly moved, or have gone
// back a little.
func (s *series) next(now int64) int64 {
	next := now
	for _, last := range [...]int64{s.start, s.sentTime} {
		if least := last + tick; next < least && least-now <= slack {
			next = least
		}
	}
	return next
}

// zeroBefore returns the time of the zero point before the first point of a series, so that what a backend takes for the increase has
// the first records in it; 0 if there is no room for one.
func (s *series) zeroBefore(first int64) int64 {
	at := s.start
	if s.sentTime != 0 {
		at = max(at, s.sentTime+tick)
	}
	if at < first {
		return at
	}
	return 0
}

// forget drops a series.
func (e *Emitter) forget(s *series) {
	if s.keys != nil {
		for text := range s.keys.totals {
			delete(e.series, text)
		}
	}
	delete(e.series, s.text)
	if key, err := identity.Decode(s.text); err == nil {
		delete(e.byLabels, labelsOf(key))
	}
	e.leaveGroup(s.group)
	s.inOrder, e.gaps = false, true
}
