package redisstore

import "slices"

// Here is a protocol in which the server forgets keys that are idle. It is no part of the scripts yet: the search shows what it needs. A
// sweep drops a key and its record. A flush that knows its id is refused as a whole, and told which of its keys are forgotten. The writer then
// takes what was acknowledged of them for gone, and begins anew at a place of its slot under another number: that of a tenant of the place,
// which the server compares before it compares contributions.

// statusForgotten says that a flush was not taken: the totals of some of its keys are forgotten.
const statusForgotten = "forgotten"

type droppedShare struct {
	field, name string
	n           int64
}

// droppedShare returns what was forgotten of what had been added to a field under a name.
func (s *scriptServer) droppedShare(field, name string) int64 {
	for _, d := range s.dropped {
		if d.field == field && d.name == name {
			return d.n
		}
	}
	return 0
}

// sweep forgets a key.
func (s *scriptServer) sweep(field string) {
	for _, share := range s.record(s.id(field)).shares {
		n := share.n + s.droppedShare(field, share.name)
		s.dropped = slices.DeleteFunc(s.dropped, func(d droppedShare) bool { return d.field == field && d.name == share.name })
		s.dropped = append(s.dropped, droppedShare{field, share.name, n})
	}
	s.erase(field)
}

// missing returns the positions of entries whose records are forgotten, as text.
func (s *scriptServer) missing(c *flushCall) (positions string) {
	for i, e := range c.entries {
		if s.forgets && e.id != 0 && s.record(e.id) == nil {
			positions += string(rune(i))
		}
	}
	return positions
}

// isOfAnother says whether what a slot has at the index of an entry is of another tenant.
func (s *scriptServer) isOfAnother(slot *scriptSlot, e callEntry) bool {
	return slot.tenants[e.index] != e.tenant && s.without != noTenants
}

// setTenants writes the tenants of the places into a call.
func (c *flushCall) setTenants(p *process) {
	for i := range c.entries {
		c.entries[i].tenant = p.tenants[c.entries[i].index]
	}
	for i := range c.runs {
		run := &c.runs[i]
		for j := range run.contributions {
			run.tenants = append(run.tenants, p.tenants[run.index+j])
		}
	}
}

// sweep forgets a key. It says whether there is one.
func (w *world) sweep(key int) bool {
	if w.server.record(w.server.id(worldFields[key])) == nil {
		return false
	}
	w.ownServer().sweep(worldFields[key])
	return true
}

// takeForgotten gives a process the answer that some keys of its flush are forgotten.
func (w *world) takeForgotten(p *process, f *flush, a answer) {
	if w.rules.without == noRebase {
		return
	}
	s := p.slot
	s.epoch, s.seen, s.pending = a.epoch, a.now, nil
	if f.whole {
		s.resend()
	}
	for _, e := range s.shard.ordered {
		e.id = 0
	}
	for _, position := range a.ids {
		p.rebase(f.entries[position])
	}
	for _, e := range f.entries {
		s.queue(e)
	}
}

// rebase makes an entry begin anew with what was not acknowledged of it.
func (p *process) rebase(e *entry) {
	p.rebased[keyOf(e)] += e.acked
	e.value.Add(-e.acked)
	e.acked, e.base, e.foreign = 0, 0, 0
	p.tenants[e.index]++
}
