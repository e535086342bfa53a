// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/recovered"
	"github.com/logtally/tallyprocessor/internal/statestorage"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
)

// TestFault_clock_steps: between two lives of a Collector the wall clock has stepped: the state is from the future, or
// from long ago. Totals go on, start times stay, and nothing that lives is forgotten.
func TestFault_clock_steps(t *testing.T) {
	steps := []time.Duration{-24 * time.Hour, -time.Second, time.Second, 24 * time.Hour, 10 * 365 * 24 * time.Hour}
	for _, step := range steps {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			first := start(t, d)
			began := time.Now().Add(-step) // where a clock that was off by that much stood
			first.store.Restore(store.Total{Key: podKey("m", 1), Value: 7, Start: began, Last: began})
			require.NoError(t, first.Shutdown(t.Context()))

			i := start(t, d, forgetAfter(time.Hour))
			i.store.Add(podKey("m", 1), 3)
			time.Sleep(59 * time.Minute)
			synctest.Wait()
			got := i.totals(t)[podKey("m", 1)]
			assert.Equal(t, 10, got.Value, "%v", step)
			assert.True(t, got.Start.Equal(began), "%v", step)
			require.NoError(t, i.Shutdown(t.Context()))
			again := start(t, d)
			assert.Equal(t, 10, again.store.Get(podKey("m", 1)), "%v", step)
			require.NoError(t, again.Shutdown(t.Context()))
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{64}, Claim: "the wall clock steps between two lives, by a second to ten years: totals go on, start times stay, nothing that lives is forgotten",
		Rounds: len(steps), Unit: "steps", Fired: len(steps), Counts: int64(10 * len(steps)),
		Note: "within a life a store goes by the monotonic clock, which no step moves",
	})
}

// TestFault_storage_slow: each write takes ten seconds. Counting does not wait, the time that is at risk is bounded by
// two writes, and a metric shows how many there were.
func TestFault_storage_slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const write, minutes = 10 * time.Second, 5
		d := newDisk()
		i := start(t, d, func(c *Config) { c.FlushInterval = time.Second })
		d.with(func() { d.hook = func(context.Context) error { time.Sleep(write); return nil } })
		counted := 0
		for range minutes * 60 {
			began := time.Now()
			i.store.Inc("a")
			counted++
			assert.Zero(t, time.Since(began), "counting waits for no write")
			time.Sleep(time.Second)
			if counted > 25 && counted%10 == 0 {
				onDisk := start(t, d.copy())
				assert.GreaterOrEqual(t, onDisk.store.Get("a"), counted-int(2*write/time.Second)-1)
				require.NoError(t, onDisk.Shutdown(t.Context()))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, i.Shutdown(ctx), "a deadline that is longer than two writes")
		flushes := d.written()
		again := start(t, d.copy())
		evidence.Report(t, evidence.Figure{
			Rows: []int{44}, Claim: "each write takes 10 s: counting waits for none, and what a crash would lose is bounded by two of them",
			Rounds: counted, Unit: "seconds", Fired: flushes, Counts: int64(counted), Lost: int64(counted - again.store.Get("a")),
		})
		require.NoError(t, again.Shutdown(t.Context()))
	})
}

// TestFault_storage_downgrade: an older version finds a state that a newer one has written, refuses it, and leaves it;
// the newer one goes on from it.
func TestFault_storage_downgrade(t *testing.T) {
	d := twoFlushes(t)
	want := start(t, d.copy()).values(t)
	newer := d.copy()
	for name, blob := range newer.data {
		newer.data[name] = withVersion(t, blob, 99)
	}
	before := newer.copy()
	older := newInstance(t, newer)
	require.ErrorIs(t, older.Start(t.Context(), older.host), statestorage.ErrRefused)
	require.Equal(t, before.data, newer.data)

	for name, blob := range newer.data { // the newer version comes back
		newer.data[name] = changeVersion(blob, state.Version)
	}
	again := start(t, newer)
	assert.Equal(t, want, again.values(t))
	require.NoError(t, again.Shutdown(t.Context()))
	evidence.Report(t, evidence.Figure{
		Rows: []int{47}, Claim: "a downgrade refuses the state of the newer version and leaves it, byte for byte; an upgrade goes on from it",
		Rounds: len(newer.data), Unit: "slots", Fired: len(newer.data), Note: fmt.Sprintf("%d keys", len(want)),
	})
}

// What a flush that panics may have lost is in the next one.
func TestPanickingFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, newDisk(), func(c *Config) { c.FlushInterval = time.Hour })
		countKeys(i, 100, 1)
		_, found := i.store.takeDirty() // as a flush does
		require.True(t, found)
		i.flusher.failed(fmt.Errorf("flush: %w", recovered.ErrPanic))
		dirty, _ := i.store.takeDirty()
		assert.Equal(t, allSections(), dirty)
		i.store.markAllDirty(&dirty)
		assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, i.host.statuses)
		require.NoError(t, i.Shutdown(t.Context()))
	})
}
