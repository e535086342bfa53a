package redisstore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// limit is something that nobody can know, or bring back, and that a promise therefore leaves out. TestLimits shows that each is one.
type limit string

const (
	limitAnswer  limit = "the server drops all that it knows of a writer whose answer was lost: that flush may count twice"
	limitForgets limit = "the server goes back, and forgets a writer before that is back: what was in between is lost"
	limitRenamed limit = "the server goes back to before a writer changed its name: what was in between is lost"
	limitForeign limit = "a wiped server does not get back what a writer has of another, or of a name that the server never heard"
	limitCopied  limit = "a copy is made of a writer whose storage has something that was not answered: both count that"
	limitRestart limit = "a copy restarts before the server has told it from its original: what it has counted until then is lost"
	limitLate    limit = "a call was on its way when its writer changed its name, and arrives when the server has gone back: that flush may count twice"
	limitEpoch   limit = "the server drops the writers, goes back to before a writer has heard of it, and drops its slot: that counts twice"
	limitReturns limit = "a wiped server gets its totals back, and a writer had changed its name or restarted: that counts twice, or not"
)

// allows says whether a scenario leaves a limit out of its promises.
func (s *scenario) allows(l limit) bool { return s.strict != l }

// mayCopy says whether the storage of a process may be copied: all that is there has arrived and was answered.
func (w *world) mayCopy(p *process) bool {
	arrived := p.slot.pending == nil
	for i := range p.disk.Entries {
		e := &p.disk.Entries[i]
		arrived = arrived && w.has(&w.lineages[p.lineage], int(e.Key[0]-'a')) >= e.Value
	}
	return arrived || !w.rules.allows(limitCopied)
}

// mayRestart says whether a process may go on from a storage with a name: its storage says that copies have been told apart.
func (w *world) mayRestart(name string) bool {
	n := 0
	for _, p := range w.places {
		if p != nil && p.slot.name == name || p != nil && p.disk != nil && p.disk.Name == name {
			n++
		}
	}
	return n < 2 || !w.rules.allows(limitRestart)
}

// noteReturn notes whose totals are back that were wiped.
func (w *world) noteReturn() {
	for _, p := range w.places {
		if p != nil && p.slot.generation != w.server.generation && p.slot.generation != "" {
			w.lineages[p.lineage].returned = true
		}
	}
}

// mayArrive says whether a call may arrive when the server has gone back: its writer has the name that it had.
func (w *world) mayArrive(c *flushCall) bool {
	return !w.rules.allows(limitLate) || slices.ContainsFunc(w.places[:], func(p *process) bool { return p != nil && p.slot.name == c.writer })
}

// lose notes after something has happened what of the counts the limits are about.
func (w *world) lose(k kind) {
	for _, p := range w.places {
		if p == nil {
			continue
		}
		l := &w.lineages[p.lineage]
		for _, e := range p.slot.shard.ordered {
			key := keyOf(e)
			has := w.has(l, key)
			l.short[key] = max(l.short[key], e.acked-has)
			l.lost[key] = max(l.lost[key], w.unrecoverable(p, e, has, k))
			l.twice[key] = max(l.twice[key], w.uncertain(p, e, has))
		}
	}
}

// unrecoverable returns how much of what a process has counted is lost for good.
func (w *world) unrecoverable(p *process, e *entry, has int64, k kind) (n int64) {
	s, what := p.slot, limitRenamed
	slot := w.server.slot(worldNames.flushKeys(0, s)[2])
	h := w.server.head(s.name)
	switch {
	case w.server.generation != s.generation && h != nil && !strings.HasPrefix(h.token, s.life):
		what, n = limitReturns, w.lineages[p.lineage].counted[keyOf(e)]-has
	case w.server.generation != s.generation:
		what, n = limitForeign, w.lineages[p.lineage].counted[keyOf(e)]-w.account(p.lineage, keyOf(e))
	case slot != nil && e.index < len(slot.contributions):
		n = e.base - (has - slot.contributions[e.index])
	case slot == nil && (w.knows(p, e) || w.forgets(p, k)):
		what, n = limitForgets, e.acked-has
	default: // it is taken for one that has not contributed yet, and brings back what is its own
		n = e.base - has
	}
	if !w.rules.allows(what) {
		return 0
	}
	return n
}

// uncertain returns how much of what a process has in the totals may count once more.
func (w *world) uncertain(p *process, e *entry, has int64) int64 {
	s := p.slot
	slot, h := w.server.slot(worldNames.flushKeys(0, s)[2]), w.server.head(s.name)
	switch {
	case w.server.generation != s.generation && h != nil && !strings.HasPrefix(h.token, s.life) && w.rules.allows(limitReturns):
		return has
	case w.server.generation != s.generation:
		if s.generation != "" && w.rules.allows(limitReturns) {
			return has - w.server.contribution(worldNames.slot(0, s.name, w.server.generation), e.index)
		}
	case slot == nil && w.lineages[p.lineage].returned && w.rules.allows(limitReturns):
		return has
	case slot == nil && h == nil && w.back && max(s.epoch, w.server.epoch) > 0 && w.rules.allows(limitEpoch):
		return has
	case slot == nil && w.isForgotten(p) && w.rules.allows(limitAnswer):
		return has - e.acked
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
func (w *world) knows(p *process, e *entry) bool {
	return w.server.head(p.slot.name) != nil || w.server.share(e.field, p.slot.name) > 0
}

// forgets says whether a fault is that the server forgets a writer.
func (w *world) forgets(p *process, k kind) bool {
	return k == dropsWriters || k == dropsSlot || periodOf[k] != 0 && w.clock-p.slot.seen > worldPeriods.slot.Milliseconds()
}

// isForgotten says whether the server, which has no slot of a writer, knows nothing else of it, or has not heard of it for so long that it
// may forget it.
func (w *world) isForgotten(p *process) bool {
	s := w.server
	h := s.head(p.slot.name)
	return h == nil || !p.awaits(h.token) || s.of != s.scope() || w.clock-h.seen > worldPeriods.writer.Milliseconds()
}

// awaits says whether a writer knows by a token what the server has: it is the last that was answered, or on its way.
func (p *process) awaits(token string) bool {
	s := p.slot
	return token == s.acked && token[0] != '?' || s.pending != nil && token == s.pending.token
}

// mostRounds is how many rounds a writer needs, from any state, until it has nothing left to send, if the server answers: it finds out that
// the shard was wiped, that it has to send all again, sends it, and what is new. It is measured; writer.rounds allows more.
const mostRounds = 6

// settle lets all writers flush, twice as one may find out what another has to send again, without faults. It returns how many rounds the
// one that took longest has needed.
func (w *world) settle() (rounds int) {
	for range 2 {
		for place, p := range w.places {
			if p == nil {
				continue
			}
			n := 0
			for done := false; !done && n <= mostRounds; n++ {
				generation, name := w.places[place].slot.generation, w.places[place].slot.name
				if !w.flush(place) {
					break
				}
				s := w.places[place].slot
				done = s.waiting() == 0 && s.generation == generation && s.name == name
			}
			rounds = max(rounds, n)
		}
	}
	return rounds
}

// violation returns what is wrong with a world, empty = nothing. The invariants are those of the store's promise, acknowledged <= total <=
// attempted for each lineage, and that there is always a way there:
//
//	once      nothing that a lineage has counted is in the totals twice
//	kept      what was acknowledged is in the totals, but for what the server has lost
//	ends      from here, a writer whose calls are answered has nothing left to send after a few rounds
//	exact     and then, all that was counted is in the totals once
//	settled   a total that a reader has shown does not fall
func (w *world) violation() string {
	if w.reader.fallen != "" {
		return "settled: " + w.reader.fallen
	}
	for i := range w.lineages {
		if text := w.twice(i); text != "" {
			return text
		}
	}
	for _, p := range w.places {
		if text := w.missing(p); text != "" {
			return text
		}
	}
	return w.unsettled()
}

func (w *world) twice(lineage int) string {
	l := &w.lineages[lineage]
	for key := range w.rules.keys {
		if has := w.has(l, key); has > l.counted[key]+l.twice[key] {
			return fmt.Sprintf("once: lineage %d has counted %d of %s, and %d are in the total", lineage+1, l.counted[key], worldFields[key][1:], has)
		}
	}
	return ""
}

func (w *world) missing(p *process) string {
	if p == nil || w.lineages[p.lineage].copies {
		return ""
	}
	l := &w.lineages[p.lineage]
	for _, e := range p.slot.shard.ordered {
		if has := w.has(l, keyOf(e)); e.acked-has > l.short[keyOf(e)] && w.server.generation == p.slot.generation {
			return fmt.Sprintf("kept: %d of %s are acknowledged, and %d in the total", e.acked, e.key(), has)
		}
	}
	return ""
}

// unsettled says what is wrong when all have flushed.
func (w *world) unsettled() string {
	end := w.clone()
	end.reader = watched{}
	if rounds := end.settle(); rounds > mostRounds {
		return fmt.Sprintf("ends: there is something left to send after %d rounds, the last answer is %q", mostRounds, end.said)
	}
	for i := range end.lineages {
		if text := end.twice(i); text != "" {
			return text + ", when all have flushed"
		}
	}
	for _, p := range end.places {
		if p == nil {
			continue
		}
		l := &end.lineages[p.lineage]
		for key := range w.rules.keys {
			if has := end.has(l, key); has < l.counted[key]-l.lost[key] {
				return fmt.Sprintf("exact: %d of %s are counted, %d may be lost, and %d are in the total, when all have flushed",
					l.counted[key], worldFields[key][1:], l.lost[key], has)
			}
		}
	}
	return ""
}

// watched is a reader and what it has shown. Its time passes in one way alone: when all writers have had the time to send everything, that
// for which it does not show a disturbed shard is over.
type watched struct {
	on      bool
	sight   sight
	now     time.Time
	floor   [2]int64 // what it has shown, less what nobody brings back
	awaited [2]bool  // by place: has not sent everything since the reader learned of a disturbance
	unheard [2]bool  // by place: has had no answer since the last fault, so nobody knows of that yet
	fallen  string
}

const worldSettleTime = 23 * time.Second

// look is a look at the totals.
func (r *watched) look(w *world) {
	before := r.sight.until
	if until := r.sight.update(w.server.generation, textOfTime(w.server.disturbed), r.now, worldSettleTime); r.now.Before(until) {
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
			r.fallen = fmt.Sprintf("a reader has shown %d of %s, and shows %d", r.floor[key], worldFields[key][1:], total)
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
	if r.awaited == [2]bool{} && r.now.Before(r.sight.until) {
		r.now = r.sight.until
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
	end.settle()
	for key := range w.rules.keys {
		r.floor[key] = min(r.floor[key], end.server.total(worldFields[key]))
	}
}
