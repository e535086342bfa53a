// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"slices"
	"testing"
	"time"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// flushed is how most searches begin: both writers have counted, and have had it acknowledged.
var flushed = []step{
	{kind: counts}, {kind: flushes}, {kind: flushes}, {kind: counts, place: 1}, {kind: flushes, place: 1}, {kind: flushes, place: 1},
}

// network are the steps that need no fault but one of the network.
var network = []kind{counts, flushes, losesCall, losesAnswer, comesLate}

// with returns the steps of network, and more.
func with(more ...kind) []kind { return append(slices.Clone(network), more...) }

// scenarios are what is explored. Each has the steps that go together, so that it gets deep enough; the last has all.
var scenarios = []scenario{
	{
		name: "network", kinds: network,
		writers: 2, keys: 2, counts: 4, late: 2, depth: 8, long: 10,
	},
	{
		name: "server", kinds: with(wipes, dropsTotals, dropsWriters, dropsSlot, copiesServer, goesBack), prepared: flushed,
		writers: 2, keys: 1, counts: 4, late: 1, depth: 6, long: 8,
	},
	{
		name: "time", kinds: with(dropsSlot, waitsShort, waitsSlot, waitsWriter, waitsWeek, turnsBack), prepared: flushed,
		writers: 2, keys: 1, counts: 4, late: 1, depth: 5, long: 7,
	},
	{
		name: "storage", kinds: with(wipes, dropsSlot, copiesServer, goesBack, restarts, stops), prepared: flushed,
		writers: 2, keys: 1, counts: 4, late: 1, storage: 2, depth: 5, long: 7,
	},
	{
		name: "restarting", kinds: []kind{counts, flushes, losesAnswer, dropsWriters, copiesServer, goesBack, restarts}, prepared: flushed[:3],
		writers: 1, keys: 1, counts: 3, storage: 1, depth: 7, long: 9,
	},
	{
		name: "copies", kinds: with(wipes, dropsSlot, clones, restarts), prepared: flushed[:3],
		writers: 1, keys: 1, counts: 4, late: 1, lineages: 1, storage: 2, depth: 7, long: 10,
	},
	{
		name: "leaving", kinds: with(leaves, joins, crashes, waitsShort, waitsSlot, waitsWriter), prepared: flushed,
		writers: 2, keys: 1, counts: 4, late: 1, lineages: 3, depth: 5, long: 7,
	},
	{
		name: "erasing", kinds: with(erases, wipes, copiesServer, goesBack, restarts), prepared: flushed,
		writers: 2, keys: 2, counts: 5, late: 1, storage: 1, depth: 5, long: 7,
	},
	{
		name: "forgetting", kinds: with(sweepsOn, asks, wipes, dropsWriters, dropsSlot, copiesServer, goesBack, restarts), prepared: flushed,
		writers: 2, keys: 1, counts: 4, late: 1, storage: 1, depth: 5, long: 7,
	},
	{
		name: "sweeping", kinds: []kind{counts, flushes, asks, sweepsOnce, waitsSweep, waitsShort, turnsBack, turnsAhead, copiesServer, goesBack},
		prepared: append(slices.Clone(flushed[:3]), step{kind: sweepsOnce}, step{kind: waitsSweep}, step{kind: sweepsOnce}),
		writers:  1, keys: 1, counts: 4, depth: 6, long: 10,
	},
	{
		name: "reader", kinds: []kind{counts, flushes, losesAnswer, wipes, dropsWriters, dropsSlot, copiesServer, goesBack, looks},
		prepared: append(slices.Clone(flushed), step{kind: copiesServer}, step{kind: counts}, step{kind: flushes}),
		writers:  2, keys: 1, counts: 4, reader: true, depth: 5, long: 7,
	},
	{
		name: "everything", kinds: with(
			wipes, dropsTotals, dropsWriters, dropsSlot, copiesServer, goesBack, waitsShort, waitsSlot, waitsWriter, waitsWeek, turnsBack,
			crashes, restarts, stops, clones, leaves, joins, erases, looks, sweepsOn, asks,
		),
		prepared: flushed, writers: 2, keys: 1, counts: 4, late: 1, lineages: 3, storage: 1, reader: true, depth: 3, long: 5,
	},
}

// TestExhaustive explores all orders of the steps of each scenario, to its depth, with the real slots and a port of the
// scripts: in each state that is found, the invariants hold; see world.violation. No step is left to chance, and each
// state is looked at once, however one gets there; which of the two writers is which makes no difference.
//
// Measured on a core that others used as well: 122,000 states in 11 s, and with TALLY_TEST_LONG 2,260,000 in 6 minutes.
func TestExhaustive(t *testing.T) {
	for _, rules := range scenarios {
		t.Run(rules.name, func(t *testing.T) {
			depth := rules.depth - lessDeep
			if evidence.Long() {
				depth = rules.long
			}
			s := search{rules: &rules}
			began := time.Now()
			found, violation := s.run(depth)
			t.Logf("%d states, %d steps, depth %d, flushes of up to %d rounds, %v", len(s.seen), s.steps, depth, s.rounds, time.Since(began))
			if violation != "" {
				t.Fatalf("%s\n%s", violation, found.trace())
			}
		})
	}
}
