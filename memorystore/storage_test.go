// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/store/storetest"
)

func TestStoreContract(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.MetricStore {
			return start(t, nil, func(c *Config) { c.Storage = nil }).MetricStore()
		})
	})
	t.Run("with storage", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.MetricStore {
			return start(t, newDisk(), func(c *Config) { c.FlushInterval = time.Millisecond }).MetricStore()
		})
	})
}

// count adds n to each of some keys.
func countKeys(i *instance, keys, n int) {
	for k := range keys {
		i.store.Add(fmt.Sprintf("key %d", k), n)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	d := newDisk()
	first := start(t, d)
	description := store.Description{Metric: "m", Description: "d", Unit: "{u}"}
	first.store.Describe(description)
	countKeys(first, 1000, 3)
	want := first.totals(t)
	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, first.Shutdown(t.Context()), "twice")
	assert.Zero(t, d.open)
	assert.ErrorIs(t, first.store.Flush(t.Context()), errStopped)

	second := start(t, d)
	assertSameTotals(t, want, second.totals(t))
	assert.Equal(t, []store.Description{description}, second.store.Descriptions())
	assert.True(t, second.store.Info().Opened.After(want["key 1"].Start))
	countKeys(second, 1001, 1)
	require.NoError(t, second.Shutdown(t.Context()))

	third := start(t, d)
	assert.Equal(t, 4, third.store.Get("key 999"))
	assert.Equal(t, 1, third.store.Get("key 1000"))
	assert.True(t, want["key 7"].Start.Equal(third.totals(t)["key 7"].Start))
	assert.Zero(t, third.damaged())
}

func assertSameTotals(t *testing.T, want, got map[string]store.Total) {
	t.Helper()
	require.Len(t, got, len(want))
	for key, w := range want {
		g := got[key]
		if w.Value != g.Value || !w.Start.Equal(g.Start) || !w.Last.Equal(g.Last) {
			t.Fatalf("%q is %v instead of %v", key, g, w)
		}
	}
}

func TestRestoreIsSavedToo(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	i.store.Restore(store.Total{Key: "a", Value: 5, Start: time.Unix(1, 2), Last: time.Unix(3, 4)})
	require.NoError(t, i.Shutdown(t.Context()))
	assert.Equal(t, time.Unix(1, 2), start(t, d).totals(t)["a"].Start)
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	require.NoError(t, i.store.Flush(t.Context()))
	assert.Zero(t, d.batches, "nothing has changed")
	countKeys(i, 5000, 1)
	require.NoError(t, i.store.Flush(t.Context()))
	assert.Equal(t, state.Sections, d.writes)

	d.writes = 0
	i.store.Inc("key 1")
	i.store.Inc("key 1")
	require.NoError(t, i.store.Flush(t.Context()))
	assert.Equal(t, 2, d.writes, "a bucket and the meta section")

	d.writes = 0
	i.store.Describe(store.Description{Metric: "m"})
	require.NoError(t, i.store.Flush(t.Context()))
	assert.Equal(t, 1, d.writes)

	d.batches = 0
	require.NoError(t, i.store.Flush(t.Context()))
	require.NoError(t, i.Shutdown(t.Context()))
	assert.Zero(t, d.batches)
}

// TestFault_kill_every_write_of_a_flush: whatever number of writes a crash lets through, each total is the one of the
// last flush or of the one that crashed, and counting goes on from there. A write that is torn counts as not written.
func TestFault_kill_every_write_of_a_flush(t *testing.T) {
	const keys = 40
	points := 0
	for _, flushes := range []int{0, 1, 2} { // of old states
		for _, torn := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d flushes, torn %t", flushes, torn), func(t *testing.T) {
				for n := 0; ; n++ {
					d := newDisk()
					i := start(t, d)
					for range flushes {
						countKeys(i, keys, 10)
						require.NoError(t, i.store.Flush(t.Context()))
					}
					d.with(func() { d.budget, d.torn = n, torn })
					countKeys(i, keys+5, 1)
					err := i.store.Flush(t.Context())
					after := d.copy()
					i.kill(t)
					if err == nil {
						assert.Greater(t, n, 20)
						break
					}
					checkAfterCrash(t, after, n, keys, flushes*10, torn)
					points++
				}
			})
		}
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{32, 40, 43}, Claim: "a crash after each write of a flush, whole or torn: each total is that of the last flush or of the one that crashed",
		Rounds: points, Unit: "kill points", Fired: points, Note: fmt.Sprintf("%d of %d points", points, points),
	})
}

func checkAfterCrash(t *testing.T, d *disk, n, keys, old int, torn bool) {
	t.Helper()
	i := start(t, d)
	if !torn {
		require.Zero(t, i.damaged(), "crash after %d", n)
	} else {
		require.Equal(t, 1, i.damaged(), "crash after %d", n)
	}
	renewed := 0
	for k := range keys {
		value := i.store.Get(fmt.Sprintf("key %d", k))
		require.Contains(t, []int{old, old + 1}, value, "crash after %d", n)
		renewed += value - old
	}
	for k := keys; k < keys+5; k++ {
		require.Contains(t, []int{0, 1}, i.store.Get(fmt.Sprintf("key %d", k)), "crash after %d", n)
	}
	require.GreaterOrEqual(t, renewed, min(1, n/6), "a write that came through counts") // 5 keys are new ones
	countKeys(i, keys, 1000)
	want := i.totals(t)
	require.NoError(t, i.Shutdown(t.Context()))
	again := start(t, d)
	require.Zero(t, again.damaged())
	assertSameTotals(t, want, again.totals(t))
	require.NoError(t, again.Shutdown(t.Context()))
}

// TestFault_storage_flushes_fail_half_way: the slot of the last complete state stays as it is, however often the
// storage takes a part of the next one.
func TestFault_storage_flushes_fail_half_way(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	countKeys(i, 300, 1)
	require.NoError(t, i.store.Flush(t.Context()))
	for round := range 5 {
		d.with(func() { d.budget, d.torn = 40*round, true })
		countKeys(i, 300, 1)
		require.ErrorIs(t, i.store.Flush(t.Context()), errCrashed)

		after := start(t, d.copy())
		for key, value := range after.values(t) {
			require.GreaterOrEqual(t, value, 1, key)
			require.LessOrEqual(t, value, round+2, key)
		}
		require.Len(t, after.values(t), 300)
	}
	d.with(func() { d.budget = -1 })
	require.NoError(t, i.Shutdown(t.Context()))
	for key, value := range start(t, d).values(t) {
		require.Equal(t, 6, value, key)
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{43}, Claim: "flushes fail half way, again and again: the last whole state is never touched",
		Rounds: 5, Unit: "flushes", Fired: 5, Counts: 300 * 6,
	})
}

func TestFault_storage_damaged_slots(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return []byte{} },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"bit flip":  func(b []byte) []byte { b = append([]byte{}, b...); b[len(b)/2] ^= 4; return b },
		"text":      func([]byte) []byte { return []byte("not a state of tally, but of someone else") },
	} {
		for _, newest := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, newest %t", name, newest), func(t *testing.T) {
				d := twoFlushes(t)
				slot := state.Name(state.Bucket("key 1"), 0)
				want := 2
				if newest {
					slot, want = state.Name(state.Bucket("key 1"), 1), 1
				}
				bad := change(d.data[slot])
				d.data[slot] = bad

				i := start(t, d)
				assert.Equal(t, want, i.store.Get("key 1"))
				assert.Equal(t, 1, i.damaged())
				entry := i.logs.FilterMessageSnippet("cannot be read").All()
				require.Len(t, entry, 1)
				assert.Equal(t, slot, entry[0].ContextMap()["slot"])
				aside := entry[0].ContextMap()["set_aside_as"].(string)
				assert.True(t, strings.HasPrefix(aside, "damaged."+slot+"."), aside)
				assert.Equal(t, bad, d.data[aside])
				i.store.Inc("key 1")
				require.NoError(t, i.Shutdown(t.Context()))

				again := start(t, d)
				assert.Zero(t, again.damaged(), "it is told once")
				assert.Equal(t, want+1, again.store.Get("key 1"))
			})
		}
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{41}, Claim: "a slot that is empty, cut, flipped or foreign: told, set aside, and the state before it is used",
		Rounds: 8, Fired: 8,
	})
}

// twoFlushes returns a disk where the slots 0 have totals of 1 and the slots 1 totals of 2.
func twoFlushes(t *testing.T) *disk {
	d := newDisk()
	i := start(t, d)
	for range 2 {
		countKeys(i, 20, 1)
		i.store.Describe(store.Description{Metric: "m"})
		require.NoError(t, i.store.Flush(t.Context()))
	}
	require.NoError(t, i.Shutdown(t.Context()))
	return d
}

func TestFault_storage_lost_slots(t *testing.T) {
	section := state.Bucket("key 1")
	for name, tt := range map[string]struct {
		slots []int
		want  int
		told  int
	}{"newest": {[]int{1}, 1, 1}, "both": {[]int{0, 1}, 0, 1}, "oldest": {[]int{0}, 2, 0}} {
		t.Run(name, func(t *testing.T) {
			d := twoFlushes(t)
			for _, number := range tt.slots {
				delete(d.data, state.Name(section, number))
			}
			i := start(t, d)
			assert.Equal(t, tt.want, i.store.Get("key 1"))
			assert.Equal(t, tt.told, i.damaged())
			i.store.Inc("key 1")
			require.NoError(t, i.Shutdown(t.Context()))
			again := start(t, d)
			assert.Zero(t, again.damaged())
			assert.Equal(t, tt.want+1, again.store.Get("key 1"))
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{41}, Claim: "a slot that the storage has lost: told, and the state before it is used",
		Rounds: 3, Fired: 3,
	})
}

func TestDamageInEverySlot(t *testing.T) {
	d := twoFlushes(t)
	slots := len(d.data)
	for name := range d.data {
		d.data[name] = nil
		d.data[name] = []byte{}
	}
	i := start(t, d)
	assert.Empty(t, i.values(t))
	assert.Equal(t, slots, i.damaged())
	require.NoError(t, i.Shutdown(t.Context()))
	assert.Zero(t, start(t, d).damaged())
}

// TestFault_kill_every_write_of_a_recovery: setting aside what is damaged can be cut short anywhere without harm to the
// rest.
func TestFault_kill_every_write_of_a_recovery(t *testing.T) {
	base := twoFlushes(t)
	want := start(t, base.copy()).values(t)
	damagedSections := map[int]bool{}
	for k := range 5 { // the older slots of some, so that nothing is lost
		section := state.Bucket(fmt.Sprintf("key %d", k))
		damagedSections[section] = true
		base.data[state.Name(section, 0)] = []byte("damaged")
	}
	broken := state.Bucket("key 6")
	require.NotContains(t, damagedSections, broken)
	for key := range want { // and the newest one of another
		if state.Bucket(key) == broken {
			want[key] = 1
		}
	}
	base.data[state.Name(broken, 1)] = []byte{}

	for n := 0; ; n++ {
		d := base.copy()
		d.budget, d.torn = n, n%2 == 1
		i := start(t, d)
		assert.Equal(t, want, i.values(t))
		assert.Equal(t, len(damagedSections)+1, i.damaged())
		failed := len(i.logs.FilterMessageSnippet("to the storage fails").All()) > 0
		after := d.copy()
		i.kill(t)

		second := start(t, after)
		require.Equal(t, want, second.values(t), "crash after %d", n)
		require.NoError(t, second.Shutdown(t.Context()))
		third := start(t, after)
		require.Equal(t, want, third.values(t), "crash after %d", n)
		require.Zero(t, third.damaged())
		require.NoError(t, third.Shutdown(t.Context()))
		if !failed {
			assert.Greater(t, n, 10)
			evidence.Report(t, evidence.Figure{
				Rows: []int{32}, Claim: "a crash after each write of a recovery that sets damage aside: nothing that was readable is lost",
				Rounds: n, Unit: "kill points", Fired: n, Note: fmt.Sprintf("%d of %d points", n, n),
			})
			break
		}
	}
}
