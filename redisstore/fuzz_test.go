// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sealed returns the stored form of a state: its checksum is right whatever the text is.
func sealed(text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(text, checksums)), text...)
}

// FuzzState: a state whose checksum is right may say anything, and so may the answers of the server. Nothing panics,
// and what is then kept is read again as it was.
func FuzzState(f *testing.F) {
	l := newLocal(1, 10)
	s := newSlot(&l.shards[0])
	l.add("a", 3)
	l.add("b", 1)
	s.collect()
	s.next()
	text, err := json.Marshal(s.state("tally", 1))
	require.NoError(f, err)
	for _, status := range []string{statusOK, statusWiped, statusRolledBack, statusExpired, statusExpiredAfter, statusFenced, statusForgotten, statusShards, ""} {
		f.Add(text, status, "generation", "token", "\x00\x00\x00\x01\x00\x00\x00\x02", int64(1), int64(1))
	}
	f.Add([]byte(`{"version":1,"key_prefix":"tally","shards":1,"entries":[{"key":"a","value":-1,"sent":-5},{"key":"a"}],"token":"x"}`), statusOK, "", "", "", int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, text []byte, status, generation, token, ids string, epoch, now int64) {
		l := newLocal(1, 10)
		s := newSlot(&l.shards[0])
		v := &saver{prefix: "tally", slots: []*slot{s}}
		if state, err := v.decode(sealed(text)); err == nil {
			s.restore(l, state)
		}
		l.add("a", 3)
		s.collect()
		for range 4 {
			flush := s.next()
			if flush == nil {
				flush = s.heartbeat()
			}
			if flush == nil {
				break
			}
			s.flushArgs(flush, 1, periods{slot: time.Hour, writer: time.Hour})
			a, err := parseAnswer([]any{status, generation, "7", int64(0), token, epoch, ids})
			if err != nil {
				return
			}
			a.now = now
			_, _ = s.settle(flush, a) // the answer may be an odd one
			s.waiting()
			s.unsent()
			s.lookForIdle(0)
			idle := s.nextIdle(0)
			s.askArgs(idle)
			s.drop(idle)
			l.add("a", 1)
			s.collect()
		}
		kept := s.state("tally", 1)
		text, err := json.Marshal(kept)
		require.NoError(t, err)
		again, err := v.decode(sealed(text))
		require.NoError(t, err)
		require.Len(t, again.Entries, len(kept.Entries))
	})
}

// FuzzRecord: a value on the server is a record that is written again as it was, or an error.
func FuzzRecord(f *testing.F) {
	f.Add("")
	f.Add("\x00\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02")
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, r.total, int64(0))
		again := appendNumber(appendNumber(appendAmount(nil, r.total), uint64(r.start), 6), uint64(r.last), 6)
		require.Equal(t, text, string(again))
	})
}
