package redisstore

import "slices"

// defect is a part of the protocol that is left out, to see the search find out.
type defect string

const (
	noDefect           defect = ""
	noNewEpoch         defect = "no new epoch when the writers are deleted"
	noEpochCheck       defect = "no check of the epoch"
	noForgotten        defect = "no note of who was forgotten"
	noTokens           defect = "no check of the token"
	noFence            defect = "no fence"
	noGoneAfter        defect = "no difference between gone and gone after"
	noGone             defect = "no check that the slot is there"
	noRepeats          defect = "a flush that was taken is taken again"
	noWriterExpiry     defect = "who was not heard of for long is taken for new"
	noAskingForAll     defect = "an unknown writer with a slot may say what is new"
	noQuestionMark     defect = "no token for an unknown writer with a slot"
	noMaxOfSeen        defect = "seen goes back with the clock"
	noLongMemory       defect = "a writer is forgotten when its slot expires"
	noLostRecords      defect = "no check that the record is there"
	noDifference       defect = "no comparison with the slot"
	noFloor            defect = "a slot that has more takes something away"
	noDisturbance      defect = "readers are not told"
	noTokenToLeave     defect = "leaving without a check of the token"
	noNameAfterLeaving defect = "no name stays of who has left"

	noLongSlot    defect = "a slot expires sooner than the writer believes"
	noSameToken   defect = "a flush without an answer is sent again under another token"
	noSeenOfGone  defect = "a writer that is gone does not note the time"
	noEpochOfGone defect = "a writer that is gone does not note the epoch"
	noFullResend  defect = "not all is sent again"
	noNewBase     defect = "what other names had contributed is not sent to a wiped shard"
	noKept        defect = "a copy sends what it has copied"
	noIDsDropped  defect = "ids are kept when the server is in another state"
	noReset       defect = "a flush that is behind is sent again as it is"
)

// afterSettle takes out of what a slot has taken from an answer what the defect leaves out.
func (d defect) afterSettle(s, before *slot, a answer) {
	gone := a.status == statusGone || a.status == statusGoneAfter
	switch {
	case d == noSeenOfGone && gone:
		s.seen = before.seen
	case d == noEpochOfGone && gone:
		s.epoch = before.epoch
	case d == noFullResend && s.resending && s.resent == 0 && len(s.shard.ordered) > 1:
		s.resent = 1
	}
}

// takenFrom returns the entries.
var _ = slices.Contains[[]int]
