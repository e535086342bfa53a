// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What several workers have counted and failed on is the sum over them.
func TestBookIsOfAllWorkers(t *testing.T) {
	b := New(3, 2)
	for i, l := range b.Ledgers() {
		require.True(t, l.Settle(1, int64(10+i), int64(100+i)))
	}
	b.Commit([]int64{0, 1000})
	assert.Equal(t, Entry{33, 303, 1000 - 33 - 303}, b.Read(1))
	assert.Zero(t, b.Read(0))
	b.Ledgers()[0].close(time.Now())
	assert.False(t, b.Ledgers()[0].Settle(1, 1, 1), "after the deadline nothing is entered")
	assert.Equal(t, Entry{33, 303, 1000 - 33 - 303}, b.Read(1))
}

// A worker that does not let go of its ledger holds Close no longer than its patience; what it enters later is not in
// the Book.
func TestStuckLedger(t *testing.T) {
	b := New(2, 1)
	b.Commit([]int64{10})
	stuck := b.Ledgers()[0]
	require.True(t, stuck.Settle(0, 2, 0))
	assert.Equal(t, Entry{2, 0, 8}, b.Read(0))
	require.True(t, stuck.Open())
	assert.False(t, b.IsClosed())
	b.Close(time.Millisecond)
	assert.True(t, b.IsClosed())
	stuck.Count(0, 5)
	stuck.Done()
	assert.Equal(t, Entry{2, 0, 8}, b.Read(0))
	assert.False(t, stuck.MayGoOn())
}

// Nothing is seen as counted before it is committed, nor is anything lost.
func TestBookIsSafe(t *testing.T) {
	const rounds = 5000
	b := New(2, 1)
	var workers sync.WaitGroup
	for _, l := range b.Ledgers() {
		workers.Go(func() {
			for range rounds {
				b.Commit([]int64{3})
				l.Settle(0, 2, 1)
			}
		})
	}
	for range rounds {
		assert.GreaterOrEqual(t, b.Read(0).Pending, int64(0))
	}
	workers.Wait()
	assert.Equal(t, Entry{2 * 2 * rounds, 2 * rounds, 0}, b.Read(0))
}
