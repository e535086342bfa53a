// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawPeriod draws a time in which a writer is heard of, is not, is forgotten, or is long forgotten.
func drawPeriod(t *rapid.T) time.Duration {
	return rapid.OneOf(
		rapid.Just(time.Second), rapid.Just(modelInterval), rapid.Just(modelForget+time.Minute), rapid.Just(modelPeriods.slot*2/3), rapid.Just(modelPeriods.slot+time.Minute), rapid.Just(modelPeriods.writer+time.Minute),
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(5*modelPeriods.writer)).Draw(t, "nanoseconds"))
		}),
	).Draw(t, "period")
}

// step moves the server's clock, and what expires by that is gone: nobody is heard of for so long, or somebody sets the
// clock, or the server fails over to one whose clock is ahead, or behind. Two cases are left out, in which nobody can
// tell what was taken: that the server is behind of what it forgets, as in expire; and that a reply got lost to a
// writer that it forgets altogether.
func (f *fleet) step(t *rapid.T, by time.Duration) {
	now := f.clock.Add(by)
	held := f.dump()
	for _, w := range f.writers {
		k, found := held[f.names.slot(0, w.slot.name, w.slot.generation)]
		expires := found && !k.expires.After(now)
		isForgotten := func(seen int64) bool { return now.UnixMilli()-seen > modelPeriods.writer.Milliseconds() }
		if expires && w.late || (expires || isForgotten(w.slot.seen)) && f.isRolledBack(w) || w.slot.pending != nil && isForgotten(f.seen(w)) {
			t.Skip()
		}
	}
	f.clock = now
	for key, k := range held {
		if k.expires.IsZero() || k.expires.After(now) {
			continue
		}
		require.NoError(t, f.client.Del(t.Context(), key).Err())
		f.replica = nil // none is behind for so long
	}
	if by >= modelPeriods.slot/2 {
		for _, w := range append(slices.Clone(f.writers), f.left...) {
			w.sent = nil // no request is on its way for so long
		}
	}
}

// seen returns when the server last took a flush of a writer, by what it knows of it; 0 if it knows nothing.
func (f *fleet) seen(w *modelWriter) int64 {
	head, err := f.client.HGet(f.t.Context(), f.names.writers(0), ":"+w.slot.name).Result()
	if err != nil {
		return 0
	}
	seen, err := strconv.ParseInt(strings.Fields(head)[2], 10, 64)
	require.NoError(f.t, err)
	return seen
}

// leave makes a writer that has sent all leave, and another come.
func (f *fleet) leave(*rapid.T) {
	w := f.pick()
	f.flush(w)
	if !w.slot.isDone() {
		return
	}
	keys := f.names.flushKeys(0, w.slot)[1:]
	left, err := modelLeaveScript.Run(f.t.Context(), f.client, keys, w.slot.leaveArgs(modelPeriods)...).Int()
	require.NoError(f.t, err)
	require.Equal(f.t, 1, left)
	require.Zero(f.t, f.client.Exists(f.t.Context(), keys[1]).Val())
	gone := *w
	f.left = append(f.left, &gone)
	for key, n := range w.counted {
		f.copied[key] -= n
	}
	*w = *f.newWriter()
	f.fired["left"]++
}
