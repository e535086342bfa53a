// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// defect is a part of the protocol that is left out, to see the search find out.
type defect string

const (
	noDefect           defect = ""
	noNewEpoch         defect = "no new epoch when the writers are deleted"
	noEpochCheck       defect = "no check of the epoch"
	noForgotten        defect = "no note of who was forgotten"
	noTokens           defect = "no check of the token"
	noFence            defect = "no fence"
	noExpiredAfter     defect = "no difference between expired and expired after"
	noExpired          defect = "no check that the slot is there"
	noRepeats          defect = "a flush that was taken is taken again"
	noAskingForAll     defect = "an unknown writer with a slot may say what is new"
	noQuestionMark     defect = "no token for an unknown writer with a slot"
	noMaxOfSeen        defect = "seen goes back with the clock"
	noLongMemory       defect = "a writer is forgotten when its slot expires"
	noLostRecords      defect = "no check that the record is there"
	noDifference       defect = "no comparison with the slot"
	noResync           defect = "readers are not told"
	noNameAfterLeaving defect = "no name stays of who has left"

	noTenants        defect = "a place of a slot is compared with that of an earlier tenant"
	noContinuity     defect = "sweeps go on after a gap"
	noLastSweep      defect = "a count is older than the last sweep when the clock is back"
	noAskToken       defect = "a server in another state is asked for keys that are gone"
	noRebase         defect = "a writer does not begin anew with a key that is forgotten"
	noForgottenShare defect = "what is forgotten is no part of the contribution"
	noSameToken      defect = "a flush without an answer is sent again under another token"
	noSeenOfExpired  defect = "a writer that has expired does not note the time"
	noEpochOfExpired defect = "a writer that has expired does not note the epoch"
	noFullResend     defect = "not all is sent again"
	noNewBase        defect = "what other names had contributed is not sent to a wiped shard"
	noEarliestEpoch  defect = "a writer takes over each epoch that it hears of"
	noPassedSequence defect = "the sequence is not past that of a flush that was given up"
	noKept           defect = "a copy sends what it has copied"
	noIDsDropped     defect = "ids are kept when the server is in another state"
)

// settle lets a slot take an answer, and takes out of that what the defect leaves out.
func (d defect) settle(s *slot, f *flush, a answer) (event, error) {
	if d == noDefect {
		return s.settle(f, a)
	}
	before := cloneSlot(s)
	s.restored = s.restored && d != noKept
	what, err := s.settle(f, a)
	d.undo(s, before, a)
	return what, err
}

func (d defect) undo(s, before *slot, a answer) {
	expired := a.status == statusExpired || a.status == statusExpiredAfter
	switch {
	case d == noEarliestEpoch:
		s.epoch = a.epoch
	case d == noPassedSequence && a.status == statusRolledBack:
		s.sequence = before.sequence
	case d == noSeenOfExpired && expired:
		s.seen = before.seen
	case d == noEpochOfExpired && expired:
		s.epoch = before.epoch
	case d == noFullResend && s.resyncing && s.resynced == 0 && len(s.places) > 1:
		s.resynced = 1
	case d == noNewBase && a.status == statusWiped:
		for key, e := range s.shard.entries {
			e.base = before.shard.entries[key].base
		}
	case d == noIDsDropped && a.status != statusOK:
		for key, e := range s.shard.entries {
			e.id = before.shard.entries[key].id
		}
	case d == noRebase && a.status == statusForgotten:
		for key, e := range s.shard.entries {
			e.start = before.shard.entries[key].start
			e.acked, e.base, e.forgotten, e.sent = before.shard.entries[key].acked, before.shard.entries[key].base, 0, before.shard.entries[key].sent
			e.value.Store(before.shard.entries[key].value.Load())
		}
		s.shard.forgotten = before.shard.forgotten
	case d == noForgottenShare && a.status == statusForgotten:
		for _, e := range s.shard.entries {
			e.forgotten = 0
		}
	}
}

// defects says which invariant the search finds violated without a part of the protocol, and in which scenario.
var defects = []struct {
	without  defect
	scenario string
	depth    int
	violates string
}{
	{noNewEpoch, "server", 6, "once: "},
	{noEpochCheck, "server", 6, "once: "},
	{noForgotten, "time", 6, "once: "},
	{noTokens, "server", 6, "once: "},
	{noFence, "copies", 6, "once: "},
	{noExpiredAfter, "server", 6, "once: "},
	{noExpired, "server", 6, "once: "},
	{noRepeats, "network", 6, "once: "},
	{noAskingForAll, "server", 6, "once: "},
	{noQuestionMark, "forgetting", 6, "ends: "},
	{noMaxOfSeen, "time", 6, "once: "},
	{noLongMemory, "time", 6, "once: "},
	{noLostRecords, "erasing", 6, "exact: "},
	{noDifference, "server", 6, "once: "},
	{noResync, "reader", 6, "settled: "},
	{noNameAfterLeaving, "leaving", 6, "once: "},
	{noSameToken, "network", 6, "once: "},
	{noTenants, "forgetting", 6, "exact: "},
	{noRebase, "forgetting", 6, "ends: "},
	{noForgottenShare, "forgetting", 6, "exact: "},
	{noAskToken, "forgetting", 6, "exact: "},
	{noContinuity, "sweeping", 6, "idle: "},
	{noLastSweep, "sweeping", 6, "idle: "},
	{noSeenOfExpired, "time", 6, "ends: "},
	{noEpochOfExpired, "server", 6, "ends: "},
	{noFullResend, "erasing", 6, "exact: "},
	{noNewBase, "server", 6, "exact: "},
	{noEarliestEpoch, "server", 6, "once: "},
	{noPassedSequence, "restarting", 7, "once: "},
	{noKept, "copies", 6, "once: "},
	{noIDsDropped, "erasing", 6, "ends: "},
}

// TestDefectsAreFound takes parts of the protocol out, one at a time. The search finds each, so it would find one that
// is missing.
func TestDefectsAreFound(t *testing.T) {
	for _, d := range defects {
		t.Run(strings.ReplaceAll(string(d.without), " ", "_"), func(t *testing.T) {
			rules := scenarioOf(d.scenario)
			rules.without = d.without
			requireViolation(t, &rules, d.depth, d.violates)
		})
	}
}

// requireViolation requires the search to find a violation, and logs the shortest way there.
func requireViolation(t *testing.T, rules *scenario, depth int, violates string) {
	s := search{rules: rules}
	found, violation := s.run(depth)
	require.NotEmpty(t, violation, "%d states", len(s.seen))
	require.True(t, strings.HasPrefix(violation, violates), violation)
	t.Logf("%s, after %d states\n%s", violation, len(s.seen), found.trace())
}

// scenarioOf returns a scenario by its name.
func scenarioOf(name string) scenario {
	return scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })]
}

// limits says in which scenario the search finds a violation of which invariant when a limit is not left out.
var limits = []struct {
	strict   limit
	scenario string
	depth    int
	violates string
}{
	{limitAnswer, "server", 4, "once: "},
	{limitForgets, "server", 6, "exact: "},
	{limitRenamed, "server", 6, "exact: "},
	{limitForeign, "storage", 4, "exact: "},
	{limitCopied, "copies", 6, "once: "},
	{limitApart, "copies", 4, "once: "},
	{limitRestart, "copies", 6, "exact: "},
	{limitLate, "server", 6, "once: "},
	{limitSwept, "forgetting", 6, "exact: "},
	{limitReturns, "storage", 6, "once: "},
}

// TestLimits promises more than can be, one limit at a time. The search finds for each that it does not hold: so
// nothing is left out that need not be.
func TestLimits(t *testing.T) {
	for _, l := range limits {
		t.Run(strings.ReplaceAll(string(l.strict), " ", "_"), func(t *testing.T) {
			rules := scenarioOf(l.scenario)
			rules.strict = l.strict
			requireViolation(t, &rules, l.depth, l.violates)
		})
	}
}
