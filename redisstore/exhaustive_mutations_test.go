package redisstore

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
)
