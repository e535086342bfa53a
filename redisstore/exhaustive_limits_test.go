// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"slices"
	"strings"
)

// limit is something that nobody can know, or bring back, and that a promise therefore leaves out. TestLimits shows
// that each is one, and that no more is left out.
type limit string

const (
	// the server drops all that it knows of a writer whose answer was lost: that flush may count twice
	limitAnswer limit = "answer lost"
	// the server goes back, and forgets a writer before that is back: what was in between is lost
	limitForgets limit = "forgotten"
	// the server goes back to before a writer changed its name: what was in between is lost
	limitRenamed limit = "renamed"
	// a wiped server does not get back what a writer has of another, or of a name that it never heard
	limitForeign limit = "foreign"
	// a copy is made of a storage that has something which was not answered: both count that
	limitCopied limit = "copied"
	// the server loses totals of copies that it has not told apart, or has forgotten: both bring them back
	limitApart limit = "apart"
	// a copy restarts before it was told from its original: what it has counted until then is lost
	limitRestart limit = "restart"
	// a call comes after its writer has given it up, and the server has gone back: it counts twice
	limitLate limit = "late"
	// the server goes back to before a key was counted that its writer has forgotten: what was in between is lost
	limitSwept limit = "swept"
	// a wiped server gets its totals back, and a writer has changed its name or restarted: wrong either way
	limitReturns limit = "returns"
)

// allows says whether a scenario leaves a limit out of its promises.
func (s *scenario) allows(l limit) bool { return s.strict != l }

// mayCopy says whether the storage of a process may be copied: all that is there has arrived and was answered.
func (w *world) mayCopy(p *process) bool {
	arrived := p.slot.pending == nil
	for i := range p.disk.Entries {
		e := &p.disk.Entries[i]
		arrived = arrived && w.has(&w.lineages[p.lineage], int(e.Key[2]-'a')) >= e.Value
	}
	return arrived || !w.rules.allows(limitCopied)
}

// mayLose says whether the server may lose totals: copies have been told apart.
func (w *world) mayLose() bool {
	for i := range w.lineages {
		if !w.areApart(i) && w.rules.allows(limitApart) {
			return false
		}
	}
	return true
}

// areApart says whether of what the processes of a lineage have in common, one has noted that the other brings it back.
func (w *world) areApart(lineage int) bool {
	l := &w.lineages[lineage]
	for key := range w.rules.keys {
		if l.copies && w.account(lineage, key) > l.counted[key] {
			return false
		}
	}
	return true
}

// mayRestart says whether a process may go on from a storage with a name: copies have been told apart, and the storage
// knows.
func (w *world) mayRestart(p *process, name string) bool {
	return !w.lineages[p.lineage].copies || w.areApart(p.lineage) && name == p.slot.name || !w.rules.allows(limitRestart)
}

// noteReturn notes whose totals are back that were wiped.
func (w *world) noteReturn() {
	for _, p := range w.places {
		if p != nil && p.slot.generation != w.server.generation && p.slot.generation != "" {
			w.lineages[p.lineage].returned = true
		}
	}
}

// mayArrive says whether a call may arrive when the server has gone back: its writer has the name that it had, and was
// not told of a wipe.
func (w *world) mayArrive(c *flushCall) bool {
	return !w.rules.allows(limitLate) || slices.ContainsFunc(w.places[:], func(p *process) bool {
		return p != nil && p.slot.name == c.writer && !w.lineages[p.lineage].returned
	})
}

// lose notes after something has happened what of the counts the limits are about.
func (w *world) lose(k kind) {
	for _, p := range w.places {
		if p == nil {
			continue
		}
		l := &w.lineages[p.lineage]
		for key := range w.rules.keys {
			has := w.has(l, key)
			l.short[key] = max(l.short[key], p.knownOf(key).acked+p.dropped(key)-has)
			l.lost[key] = max(l.lost[key], w.unrecoverable(p, key, has, k))
			l.twice[key] = max(l.twice[key], w.uncertain(p, key, has))
		}
	}
}

// known is what a process knows of a key.
type known struct {
	acked, base, forgotten int64
	place                  int
	tenant                 uint32
}

func (p *process) knownOf(key int) known {
	e := p.entry(key)
	if e == nil {
		return known{place: noPlace}
	}
	return known{e.acked, e.base, e.forgotten, e.place, e.tenant}
}

// unrecoverable returns how much of what a process has counted is lost for good.
func (w *world) unrecoverable(p *process, key int, has int64, k kind) (n int64) {
	s, what := p.slot, limitRenamed
	slot := w.server.slot(worldNames.flushKeys(0, s)[2])
	h := w.server.head(s.name)
	of, dropped := p.knownOf(key), p.dropped(key)
	if !w.rules.allows(limitSwept) {
		dropped = 0
	}
	switch {
	case w.server.generation != s.generation && h != nil && !strings.HasPrefix(h.token, s.session):
		what, n = limitReturns, w.lineages[p.lineage].counted[key]-has
	case w.server.generation != s.generation:
		what, n = limitForeign, w.lineages[p.lineage].counted[key]-p.dropped(key)+dropped-w.account(p.lineage, key)
	case slot != nil:
		contribution, isThere := w.server.place(slot.key, of.place, of.tenant)
		if !isThere {
			contribution = of.forgotten
		}
		n = of.base + dropped - (has - contribution + of.forgotten)
	case w.knows(p, key) || w.forgets(p, k):
		what, n = limitForgets, of.acked+dropped-has
	default: // it is taken for one that has not contributed yet, and brings back what is its own
		n = of.base + dropped - has
	}
	if !w.rules.allows(what) {
		return 0
	}
	return n
}

// uncertain returns how much of what a process has in the totals may count once more.
func (w *world) uncertain(p *process, key int, has int64) int64 {
	s, of := p.slot, p.knownOf(key)
	slot, h := w.server.slot(worldNames.flushKeys(0, s)[2]), w.server.head(s.name)
	switch {
	case w.server.generation != s.generation && h != nil && !strings.HasPrefix(h.token, s.session) && w.rules.allows(limitReturns):
		return has
	case w.server.generation != s.generation:
		if s.generation != "" && w.rules.allows(limitReturns) {
			contribution, _ := w.server.place(worldNames.slot(0, s.name, w.server.generation), of.place, of.tenant)
			return has - contribution
		}
	case slot == nil && w.lineages[p.lineage].returned && w.rules.allows(limitReturns):
		return has
	case slot == nil && w.isForgotten(p) && w.rules.allows(limitAnswer):
		return has - of.acked - p.dropped(key)
	}
	return 0
}

// account returns what the processes of a lineage contribute to a shard that has nothing of them.
func (w *world) account(lineage, key int) (n int64) {
	for _, p := range w.places {
		if p != nil && p.lineage == lineage {
			if e := p.entry(key); e != nil {
				n += e.value.Load() - e.foreign
			}
		}
	}
	return n
}

// knows says whether the server has something of a writer besides its slot.
func (w *world) knows(p *process, key int) bool {
	return w.server.head(p.slot.name) != nil || w.server.share(worldFields[key], p.slot.name) > 0
}

// forgets says whether a fault is that the server forgets a writer.
func (w *world) forgets(p *process, k kind) bool {
	silent := w.clock - p.slot.seen
	return k == dropsWriters || k == dropsSlot || silent > worldPeriods.writer.Milliseconds() || periodOf[k] != 0 && silent > worldPeriods.slot.Milliseconds()
}

// isForgotten says whether the server, which has no slot of a writer, knows nothing else of it, or has not heard of it
// for so long that it may forget it.
func (w *world) isForgotten(p *process) bool {
	s := w.server
	h := s.head(p.slot.name)
	return h == nil || p.slot.resyncing || !p.awaits(h.token) || s.of != s.scope() || w.clock-h.seen > worldPeriods.writer.Milliseconds()
}

// awaits says whether a writer knows by a token what the server has: it is the last that was answered, or on its way.
func (p *process) awaits(token string) bool {
	s := p.slot
	return token == s.acked && token[0] != '?' || s.pending != nil && token == s.pending.token
}
