// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

// state is what the next consumer knows of a series.
type state uint8

const (
	unmet       state = iota // nothing; meet has yet to say what an earlier process has sent
	unsent                   // no point with the start time that the series has now
	live                     // such a point
	stale                    // that the series is stale, with the total that it has
	staleBefore              // the same, from an earlier process
)

// observation is what a collection finds of a series.
type observation uint8

const (
	counted observation = iota // its total is not the one that was accepted last
	idle                       // it is
	expired                    // it is, and has not changed for StaleAfter
	lower                      // its total is lower than the one that was accepted, and may come back within Settle
	reset                      // the store has another start time for it, or its total is lower for good
	gone                       // the store does not have it
	observations
)

// emission is what a collection has of a series.
type emission uint8

const (
	nothing emission = iota
	point            // its total
	first            // its total, after a zero point if the series is new to the world
	marker           // a point without a recorded value: the series is stale
	forget           // nothing, now and later: the Emitter drops the series
)

// transition is what follows an observation.
type transition struct {
	next  state
	emits emission
}

// transitions say what follows in each state. When the next consumer has accepted a total, the series is live; when it
// has accepted a marker, the series is stale, or forgotten if it is gone. What was refused changes no state, so the
// next collection has it again.
var transitions = [...][observations]transition{
	unsent: {
		counted: {unsent, first}, idle: {unsent, point}, expired: {unsent, marker},
		lower: {unsent, nothing}, reset: {unsent, first}, gone: {unsent, forget},
	},
	live: {
		counted: {live, point}, idle: {live, point}, expired: {live, marker},
		lower: {live, nothing}, reset: {unsent, first}, gone: {live, marker},
	},
	stale: {
		counted: {live, point}, idle: {stale, nothing}, expired: {stale, nothing},
		lower: {stale, nothing}, reset: {unsent, first}, gone: {stale, forget},
	},
	staleBefore: {
		counted: {unsent, first}, idle: {staleBefore, nothing}, expired: {staleBefore, nothing},
		lower: {staleBefore, nothing}, reset: {unsent, first}, gone: {staleBefore, forget},
	},
}

// delta is what a collection of deltas has instead of the emission of the table: what was added, of whatever state. A
// delta needs neither a zero point nor a marker, and says nothing of what was not counted.
func delta(s *series, seen observation) emission {
	switch {
	case seen == gone:
		return forget
	case seen == lower, s.value == s.sent:
		return nothing
	}
	return point
}

// follow takes a series to its next state, and adds it to the collection if there is something to send of it.
func (e *Emitter) follow(s *series, seen observation) {
	t := transitions[s.state][seen]
	s.state, s.emits = t.next, t.emits
	if e.settings.Delta {
		s.emits = delta(s, seen)
	}
	switch s.emits {
	case nothing:
		return
	case forget:
		e.forget(s)
		return
	case first:
		if !e.isNew(s) {
			s.emits = point
		}
	case point, marker:
	}
	e.points = append(e.points, s)
}

// accepted enters that the next consumer has what a collection had of a series.
func (e *Emitter) accepted(s *series) {
	s.sentTime = s.next(e.now)
	if s.emits != marker {
		s.sent, s.state = s.value, live
		return
	}
	s.state = stale
	if s.listed != e.number {
		e.forget(s)
	}
}

// observe brings a series that the store has up to date, and says what has become of it.
func (e *Emitter) observe(s *series, total reading) observation {
	restarted := s.origin != total.start
	switch {
	case s.state == unmet:
		e.meet(s, total)
	case s.uncounted && total.value > 0:
		s.origin, s.uncounted = total.start, false // it goes on from the 0 that it had
	case !restarted && total.value < s.sent && e.mayComeBack(s):
		return lower
	case restarted, total.value < s.sent:
		e.restart(s, total)
		return reset
	}
	delete(e.lower, s)
	if s.value != total.value {
		s.value, s.changed = total.value, e.now
	}
	switch {
	case s.value != s.sent:
		return counted
	case e.isExpired(s):
		return expired
	}
	return idle
}

// meet takes up a series of which only its listing is known. An earlier process has sent what was restored of it, and,
// if that was idle for long, has marked it stale.
func (e *Emitter) meet(s *series, total reading) {
	restored, last := s.sent, s.changed // see series
	s.origin, s.start = total.start, min(total.start, e.now)
	s.state, s.sent, s.changed = unsent, 0, e.now
	if e.settings.Delta {
		s.sent = restored
	}
	staleAfter := int64(e.settings.StaleAfter)
	if staleAfter > 0 && total.value > 0 && restored == total.value && e.now-last >= staleAfter {
		s.state, s.value, s.sent = staleBefore, total.value, total.value
	}
}

// restart gives a series a new start time, which is not before its last point.
func (e *Emitter) restart(s *series, total reading) {
	delete(e.lower, s)
	s.origin, s.start = total.start, min(total.start, e.now)
	if s.start < s.sentTime {
		s.start = min(s.sentTime, e.now)
	}
	s.sent, s.value, s.changed = 0, total.value, e.now
}

// mayComeBack says whether a total that is lower than before has been so for less than Settle.
func (e *Emitter) mayComeBack(s *series) bool {
	if e.settings.Settle <= 0 {
		return false
	}
	since, known := e.lower[s]
	if !known {
		since = e.now
		e.lower[s] = since
	}
	return e.now-since < int64(e.settings.Settle)
}

// isExpired says whether an accepted total has not changed for StaleAfter. A series that was never counted does not
// expire.
func (e *Emitter) isExpired(s *series) bool {
	return e.settings.StaleAfter > 0 && !s.uncounted && e.now-s.changed >= int64(e.settings.StaleAfter)
}

// isNew says whether a zero point goes before the first point of a series. Only a key that was first counted since the
// settings' Since gets one, if there is room between its start time and the point.
func (e *Emitter) isNew(s *series) bool {
	return s.value > 0 && s.start >= e.since && s.zeroTime() < s.next(e.now)
}
