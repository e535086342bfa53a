// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emission

import (
	"math"
	"time"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// tick is the least time between two points of a series: Prometheus keeps times to the millisecond.
const tick = time.Millisecond

// slack is how far a point may be ahead of the clock so that it comes after the one before. A clock that has gone back further
// was wrong before, and points have its new time.
const slack = time.Second

// series is what an Emitter knows of one series: of one key, as a rule, and else of all keys with the same labels.
type series struct {
	key      identity.Key // one of them; its values have the kinds that are emitted
	text     string       // of the key, to order by
	resource string       // text of the resource, to group by

	origin   time.Time // when it was first counted, by the store
	start    time.Time // what is emitted as such: never ahead of the clock
	sent     int       // of the total, what the next consumer has accepted
	sentTime time.Time // the time of the last accepted point, of this start or an earlier one; zero = none
	begun    bool      // the next consumer has accepted a point with this start

	value     int       // of the total, at the last collection
	changed   time.Time // the moment of the collection that first found it
	fell      time.Time // the moment of the collection that first found value below sent; zero = it is not
	ended     bool      // the next consumer knows of no series, or has accepted its end; until value changes
	uncounted bool      // the store does not have the key yet; its description does

	listed uint64 // number of the last collection that found the series in the store
	slot   int    // in the readings of that collection

	keys map[string]keyTotal // what each key had; nil = there is but one key
	gone int                 // what keys had that the store has dropped, while others are there
}

// keyTotal is what one of several keys of a series had.
type keyTotal struct {
	value  int
	start  time.Time
	listed uint64
}

// seriesOf returns the series of a key that was not met before: that of another key with the same labels, or a new one.
func (e *Emitter) seriesOf(key identity.Key, text string) *series {
	labels := labelsOf(key)
	s := e.byLabels[labels]
	if s == nil {
		s = e.series[labels]
	}
	switch {
	case s == nil:
		s = &series{}
		s.represent(key, text)
		if labels != text {
			e.byLabels[labels] = s
		}
	case s.keys == nil:
		s.keys = map[string]keyTotal{s.text: {s.value, s.origin, 0}}
		e.byLabels[labels] = s // a key whose text is the labels may go, and leave the others
		if s.listed == e.number {
			e.enterKey(s, e.readings[s.slot].Total)
		}
		fallthrough
	default:
		if !s.begun && text < s.text { // whatever the order of the listing is, so that each process emits the same
			if _, there := s.keys[s.text]; !there {
				delete(e.series, s.text) // that key is gone, and its entry was there for the series alone
			}
			s.represent(key, text)
		}
	}
	e.series[text] = s
	return s
}

func (s *series) represent(key identity.Key, text string) {
	s.key, s.text, s.resource = key, text, identity.Key{Resource: key.Resource}.String()
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
func (e *Emitter) enterKey(s *series, total tallyprocessor.Total) {
	if before, known := s.keys[total.Key]; known && !before.start.Equal(total.Start) {
		e.leave(s, before)
	}
	s.keys[total.Key] = keyTotal{total.Value, total.Start, e.number}
}

// leave keeps the total of a key that is gone in its series, which others go on: so that never falls. The totals of a store that
// settles come back by themselves.
func (e *Emitter) leave(s *series, k keyTotal) {
	if e.settings.Settle <= 0 {
		s.gone = addUpTo(s.gone, k.value)
	}
}

// whole returns the total of a series: what was read of it, and what there is of the keys that were not listed. complete says that
// those are no longer in the store.
func (e *Emitter) whole(r reading, complete bool) tallyprocessor.Total {
	s := r.series
	for text, k := range s.keys {
		switch {
		case k.listed == e.number:
		case !complete:
			r.Value = addUpTo(r.Value, k.value)
		default:
			e.leave(s, k)
			delete(s.keys, text)
			if text != s.text {
				delete(e.series, text)
			}
		}
	}
	if s.keys != nil && !s.origin.IsZero() {
		r.Start = s.origin
	}
	r.Value = addUpTo(r.Value, s.gone)
	return r.Total
}

// update brings a series up to date.
func (e *Emitter) update(s *series, total tallyprocessor.Total, now time.Time) {
	anew := !s.origin.Equal(total.Start)
	switch {
	case s.origin.IsZero():
		s.meet(e.settings, total, now)
	case s.uncounted && total.Value > 0:
		s.origin, s.uncounted = total.Start, false // it goes on from the 0 that it had
	case !anew && total.Value < s.sent && e.settles(s, now):
		return
	case anew, total.Value < s.sent: // the store has begun anew
		s.restart(total.Start, now)
	}
	s.fell = time.Time{}
	if s.value != total.Value {
		s.value, s.changed, s.ended = total.Value, now, false
	}
}

// meet takes a series up that was not known before.
func (s *series) meet(settings Settings, total tallyprocessor.Total, now time.Time) {
	s.origin, s.start = total.Start, earlier(total.Start, now)
	if settings.Delta {
		s.sent = total.Restored // an earlier process has sent that
	}
	if idle := now.Sub(total.Last); settings.StaleAfter > 0 && total.Value > 0 && total.Restored == total.Value && idle >= settings.StaleAfter {
		s.value, s.ended = total.Value, true // an earlier process has ended it
	}
}

// restart begins the series anew, after the last point that was sent of it.
func (s *series) restart(origin, now time.Time) {
	s.origin, s.start = origin, earlier(origin, now)
	if s.start.Before(s.sentTime) {
		s.start = earlier(s.sentTime, now)
	}
	s.sent, s.value, s.begun, s.ended = 0, 0, false, false
}

// settles says whether a series that has fallen may come back.
func (e *Emitter) settles(s *series, now time.Time) bool {
	if e.settings.Settle <= 0 {
		return false
	}
	if s.fell.IsZero() {
		s.fell = now
	}
	return now.Sub(s.fell) < e.settings.Settle
}

// next returns the time of the next point: now, or a tick after the last one should the clock have hardly moved, or have gone
// back a little.
func (s *series) next(now time.Time) time.Time {
	next := now
	for _, last := range []time.Time{s.start, s.sentTime} {
		if least := last.Add(tick); next.Before(least) && least.Sub(now) <= slack {
			next = least
		}
	}
	return next
}

// zeroBefore returns the time of the zero point before the first point of a series, so that what a backend takes for the increase has
// the first records in it; zero if there is no room for one.
func (s *series) zeroBefore(first time.Time) time.Time {
	at := s.start
	if least := s.sentTime.Add(tick); !s.sentTime.IsZero() && at.Before(least) {
		at = least
	}
	if at.Before(first) {
		return at
	}
	return time.Time{}
}

// forget drops a series.
func (e *Emitter) forget(s *series) {
	for text := range s.keys {
		delete(e.series, text)
	}
	delete(e.series, s.text)
	delete(e.byLabels, labelsOf(s.key))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// addUpTo adds two numbers that are not negative, up to the largest int.
func addUpTo(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}
