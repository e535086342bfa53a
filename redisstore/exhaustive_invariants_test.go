// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import "fmt"

// mostRounds is how many rounds a writer needs at most, from any state, until it has nothing left to send, if the
// server answers: it is told that the shard is another, then which token that has, sends all that it has contributed,
// and what is new. That is what the search has found; writer.rounds allows maxStateChanges.
const mostRounds = 4

// settle lets all writers flush, without faults, and if one has found the server in another state, once more: it may be
// what another has to send again. It returns how many rounds the one that took longest has needed.
func (w *world) settle() (rounds int) {
	for range 2 {
		changed := false
		for place, p := range w.places {
			if p != nil {
				n, u := w.flushAll(place)
				rounds, changed = max(rounds, n), changed || u
			}
		}
		if !changed {
			break
		}
	}
	return rounds
}

// flushAll flushes until there is nothing left to send: writer.rounds.
func (w *world) flushAll(place int) (rounds int, changed bool) {
	for rounds <= mostRounds && w.flush(place) {
		rounds++
		ok := w.said == statusOK
		if changed = changed || !ok; ok && w.places[place].slot.waiting() == 0 {
			break
		}
	}
	return rounds, changed
}

// violation returns what is wrong with a world, empty = nothing. The invariants are those of the store's promise,
// acknowledged <= total <= attempted for each lineage, and that there is always a way there:
//
//	once      nothing that a lineage has counted is in the totals twice
//	kept      what was acknowledged is in the totals, but for what the server has lost
//	ends      from here, a writer whose calls are answered has nothing left to send after a few rounds
//	exact     and then, all that was counted is in the totals once
//	settled   a total that a reader has shown does not fall
//	idle      no key is dropped that was counted for less than `forget_after`
//	balance   what a process lists of a key, and what it says is forgotten of it, are what it has counted
//
// It returns how many rounds the longest flush takes from here.
func (w *world) violation() (text string, rounds int) {
	if w.reader.fallen != "" {
		return "settled: " + w.reader.fallen, 0
	}
	if w.early != "" {
		return "idle: " + w.early, 0
	}
	for i := range w.lineages {
		if text := w.twice(i); text != "" {
			return text, 0
		}
	}
	for _, p := range w.places {
		if text := w.missing(p); text != "" {
			return text, 0
		}
	}
	end := w.clone()
	end.reader = watched{}
	rounds = end.settle()
	return end.unsettled(rounds), rounds
}

func (w *world) twice(lineage int) string {
	l := &w.lineages[lineage]
	for key := range w.rules.keys {
		if has := w.has(l, key); has > l.counted[key]+l.twice[key] {
			return fmt.Sprintf("once: lineage %d has counted %d of %s, and %d are in the total", lineage+1, l.counted[key], nameOfField(worldFields[key]), has)
		}
	}
	return ""
}

func (w *world) missing(p *process) string {
	if p == nil || w.lineages[p.lineage].copies {
		return ""
	}
	l := &w.lineages[p.lineage]
	for key := range w.rules.keys {
		if counted := p.counted(key); counted != l.counted[key] {
			return fmt.Sprintf("balance: %d of %s are counted, and listed or forgotten %d", l.counted[key], nameOfField(worldFields[key]), counted)
		}
		acked, has := p.dropped(key), w.has(l, key)
		if e := p.entry(key); e != nil {
			acked += e.acked
		}
		if acked-has > max(l.short[key], l.lost[key]) && w.server.generation == p.slot.generation {
			return fmt.Sprintf("kept: %d of %s are acknowledged, and %d in the total", acked, nameOfField(worldFields[key]), has)
		}
	}
	return ""
}

// unsettled says what is wrong when all have flushed.
func (w *world) unsettled(rounds int) string {
	if rounds > mostRounds {
		return fmt.Sprintf("ends: there is something left to send after %d rounds, the last answer is %q", mostRounds, w.said)
	}
	for i := range w.lineages {
		if text := w.twice(i); text != "" {
			return text + ", when all have flushed"
		}
	}
	for _, p := range w.places {
		if p == nil {
			continue
		}
		l := &w.lineages[p.lineage]
		for key := range w.rules.keys {
			if has := w.has(l, key); has < l.counted[key]-l.lost[key] {
				return fmt.Sprintf("exact: %d of %s are counted, %d may be lost, and %d are in the total, when all have flushed",
					l.counted[key], nameOfField(worldFields[key]), l.lost[key], has)
			}
		}
	}
	return ""
}
