// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recordText writes a record as the script does.
func recordText(high, low, start, last uint64) string {
	text := appendNumber(appendNumber(nil, high, 5), low, 4)
	return string(appendNumber(appendNumber(text, start, 6), last, 6))
}

func TestRecords(t *testing.T) {
	got, err := parseRecord(recordText(3, 14, 1<<40+5, 1<<47+6))
	require.NoError(t, err)
	assert.Equal(t, record{total: 3_000_000_014, start: 1<<40 + 5, last: 1<<47 + 6}, got)

	const high, low = math.MaxInt64 / billion, math.MaxInt64 % billion
	got, err = parseRecord(recordText(high, low, 0, 0))
	require.NoError(t, err)
	assert.Equal(t, int64(math.MaxInt64), got.total)
	got, err = parseRecord(recordText(high-1, billion-1, 0, 0))
	require.NoError(t, err)
	assert.Equal(t, int64(high*billion-1), got.total)

	for name, text := range map[string]string{
		"one too many":     recordText(high, low+1, 0, 0),
		"far too many":     recordText(high+1, 0, 0, 0),
		"a whole billion":  recordText(1, billion, 0, 0),
		"nothing":          "",
		"a byte too few":   recordText(1, 1, 1, 1)[1:],
		"a byte too many":  recordText(1, 1, 1, 1) + "x",
		"an older version": "1 2 3 4",
	} {
		_, err := parseRecord(text)
		assert.ErrorIs(t, err, errWrongAnswer, name)
	}
}

func TestAnswers(t *testing.T) {
	good := []any{"ok", "generation", "1700000000000", int64(2), "token", int64(3), "\x00\x00\x00\x01\x00\x00\x00\x02"}
	got, err := parseAnswer(good)
	require.NoError(t, err)
	assert.Equal(t, answer{status: "ok", generation: "generation", now: 1_700_000_000_000, full: 2, token: "token", epoch: 3, ids: "\x00\x00\x00\x01\x00\x00\x00\x02"}, got)

	for i := range good {
		bad := slices.Clone(good)
		bad[i] = 0.5 // of a kind that no part has
		_, err := parseAnswer(bad)
		assert.ErrorIs(t, err, errWrongAnswer, "part %d", i)
	}
	for name, reply := range map[string]any{
		"no time": []any{"ok", "generation", "noon", int64(2), "token", int64(3), ""}, "half an id": []any{"ok", "generation", "1", int64(2), "token", int64(3), "xyz"}, "too few": good[:5], "too many": append(slices.Clone(good), ""),
		"no list": "ok", "nothing": nil,
	} {
		_, err := parseAnswer(reply)
		assert.ErrorIs(t, err, errWrongAnswer, name)
	}
}

// The numbers of keys are known from the answer on, and forgotten when the server is in another state than the writer
// thought.
func TestIDs(t *testing.T) {
	for status, kept := range map[string]bool{
		statusOK: true, statusWiped: false, statusRolledBack: false, statusExpired: false, statusExpiredAfter: false, statusFenced: false,
	} {
		l := newLocal(1, 10)
		s := newSlot(&l.shards[0])
		l.add("a", 1)
		l.add("b", 1)
		s.collect()
		f := s.next()
		assert.EqualValues(t, 2, s.unsent())
		assert.Len(t, s.flushArgs(f, 1, modelPeriods), 16+2+2, "two names, and a run")
		_, err := s.settle(f, answer{status: statusOK, ids: "\x00\x00\x00\x05\x00\x00\x00\x06"})
		require.NoError(t, err)
		a, _ := l.find("a")
		b, _ := l.find("b")
		assert.Equal(t, []uint32{5, 6}, []uint32{a.id, b.id})
		l.add("b", 1)
		l.add("c", 1)
		s.collect()
		f = s.next()
		assert.Len(t, s.flushArgs(f, 1, modelPeriods), 16+1+2, "only the new one has its name in it")
		_, err = s.settle(f, answer{status: status})
		require.NoError(t, err)
		if kept {
			assert.Equal(t, []uint32{5, 6}, []uint32{a.id, b.id}, status)
		} else {
			assert.Equal(t, []uint32{0, 0}, []uint32{a.id, b.id}, status)
		}
	}
	l := newLocal(1, 10)
	s := newSlot(&l.shards[0])
	l.add("a", 1)
	s.collect()
	_, err := s.settle(s.next(), answer{status: statusOK, ids: "\x00\x00\x00\x05\x00\x00\x00\x06"})
	require.ErrorIs(t, err, errWrongAnswer, "more ids than keys")
}

// What settle does not know it does not take for an acknowledgement.
func TestUnknownAnswers(t *testing.T) {
	l := newLocal(1, 10)
	s := newSlot(&l.shards[0])
	l.add("a", 3)
	s.collect()
	f := s.next()
	for status, want := range map[string]error{statusShards: errShards, "hello": errWrongAnswer} {
		_, err := s.settle(f, answer{status: status, generation: "5"})
		require.ErrorIs(t, err, want)
		assert.EqualValues(t, 3, s.unsent())
		assert.Same(t, f, s.next(), "it is sent again, unchanged")
	}
}

// A flush brings at most a chunk, and what waits is counted once wherever it is.
func TestChunks(t *testing.T) {
	l := newLocal(1, 3*chunk)
	s := newSlot(&l.shards[0])
	for i := range 2*chunk + 1 {
		l.add(string(rune('a'+i%26))+newToken(), 1)
	}
	s.collect()
	assert.Equal(t, 2*chunk+1, s.waiting())
	for _, n := range []int{chunk, chunk, 1} {
		f := s.next()
		require.Len(t, f.entries, n)
		assert.True(t, slices.IsSortedFunc(f.entries, byPlace))
		assert.Nil(t, s.heartbeat(), "there is something on its way")
		before := s.waiting()
		_, err := s.settle(f, answer{status: statusOK})
		require.NoError(t, err)
		assert.Equal(t, before-n, s.waiting())
	}
	assert.Nil(t, s.next())
	assert.Zero(t, s.unsent())
	s.resync()
	assert.Equal(t, 2*chunk+1, s.waiting())
	for _, n := range []int{chunk, chunk, 1} {
		f := s.next()
		require.Len(t, f.entries, n)
		require.True(t, f.absolute)
		assert.Equal(t, 2*chunk+1-s.resynced+n, s.waiting())
		require.NoError(t, s.accepted(f, answer{}))
	}
	assert.Nil(t, s.next())
	assert.Zero(t, s.waiting())
}

// A total stays at the largest int64, and each addition that it could not take in full is counted.
func TestContributionsSaturate(t *testing.T) {
	l := newLocal(1, 10)
	l.add("a", math.MaxInt64-1)
	l.add("a", 1)
	assert.Zero(t, l.saturated.Load())
	l.add("a", 1)
	l.add("a", math.MaxInt64)
	assert.EqualValues(t, 2, l.saturated.Load())
	l.add("none", 0)
	l.add("none", -1)
	_, found := l.find("none")
	assert.False(t, found)
	for total := range l.totals() {
		assert.Equal(t, "a", total.Key)
		assert.Equal(t, math.MaxInt, total.Value)
	}
}

// There is room for so many keys; what comes later is counted under an overflow key, which has room always.
func TestRoomForKeys(t *testing.T) {
	l := newLocal(4, 2)
	for _, key := range []string{`["m",{},{"a":1}]`, `["m",{},{"a":2}]`, `["m",{},{"a":3}]`, `["m",{},{"a":4}]`, `["m",{},{"a":1}]`} {
		l.add(key, 1)
	}
	got := map[string]int{}
	for total := range l.totals() {
		got[total.Key] = total.Value
	}
	assert.Equal(t, map[string]int{`["m",{},{"a":1}]`: 2, `["m",{},{"a":2}]`: 1, `["m",{},{"otel.metric.overflow":true}]`: 2}, got)
	assert.EqualValues(t, 2, l.overflowed.Load())
	assert.EqualValues(t, 3, l.keys.Load())
}

// A key that is counted again and again waits once.
func TestChangedKeysWaitOnce(t *testing.T) {
	l := newLocal(1, 10)
	for range 5 {
		l.add("a", 1)
		l.add("b", 1)
	}
	assert.Len(t, l.shards[0].changed, 2)
	s := newSlot(&l.shards[0])
	s.collect()
	assert.Empty(t, l.shards[0].changed)
	l.add("a", 1)
	assert.Len(t, l.shards[0].changed, 1)
	s.collect()
	assert.Equal(t, 2, s.waiting())
}

// A run writes over what has not changed in between: by what the slot has of it, which is not what the process has
// counted.
func TestRunsKeepWhatIsBetween(t *testing.T) {
	l := newLocal(1, 100)
	s := newSlot(&l.shards[0])
	for i := range 12 {
		l.add(string(rune('a'+i)), 1)
	}
	s.collect()
	list := slices.Clone(s.places)
	for i, e := range list {
		e.base, e.acked, e.sent = int64(10*i), int64(10*i+2), int64(10*i+4) // contributed 2, of which a flush makes 4
		e.forgotten, e.tenant = 1, uint32(100+i)                            // and 1 that is forgotten
	}
	s.places[5] = nil
	run := func(from int, amounts ...int64) (text []byte) {
		for i, n := range amounts {
			tenant := uint32(100 + from + i)
			if from+i == 5 {
				tenant = 0
			}
			text = appendPlace(text, n, tenant)
		}
		return text
	}
	f := &flush{entries: []*entry{list[1], list[3], list[11]}}
	assert.Equal(t, []any{1 * placeLength, run(1, 5, 3, 5, 3, 0, 3, 3, 3, 3, 3, 5)}, s.appendRuns(nil, f), "a gap of seven")
	f = &flush{entries: []*entry{list[2], list[11]}}
	assert.Equal(t, []any{2 * placeLength, run(2, 5), 11 * placeLength, run(11, 5)}, s.appendRuns(nil, f), "a gap of eight")
}
