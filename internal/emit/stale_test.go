// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// An idle series ends with one point that has no value, is silent, and goes on from the old total.
func TestStale(t *testing.T) {
	e := New(Settings{StaleAfter: 20 * time.Second, Since: at(0)})
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1s 0", "map[s:x] m map[a:1] 1s-10s 5"}, emit(t, e, 10, total(keyA, 5, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-20s 5"}, emit(t, e, 20, total(keyA, 5, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-30s end"}, emit(t, e, 30, total(keyA, 5, 1)))
	assert.Empty(t, emit(t, e, 40, total(keyA, 5, 1)))
	assert.Empty(t, emit(t, e, 50, total(keyA, 5, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m0s 7"}, emit(t, e, 60, total(keyA, 7, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m10s 7"}, emit(t, e, 70, total(keyA, 7, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m20s end"}, emit(t, e, 80, total(keyA, 7, 1)), "and ends again")
}

// An end that was refused is sent again, and a value that was refused is sent before its series ends.
func TestStaleWhileRefused(t *testing.T) {
	refuse := func(e *Emitter, now int, list ...store.Total) {
		failing, _ := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error { return errors.New("away") })
		c, err := e.Collect(totals(list...), nil, at(now))
		require.NoError(t, err)
		require.Error(t, c.Send(t.Context(), failing))
	}
	e := New(Settings{StaleAfter: 20 * time.Second, Since: at(0)})
	emit(t, e, 10, total(keyA, 5, 1))
	refuse(e, 40, total(keyA, 5, 1))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-50s end"}, emit(t, e, 50, total(keyA, 5, 1)))
	refuse(e, 60, total(keyA, 6, 1))
	refuse(e, 90, total(keyA, 6, 1))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m40s 6"}, emit(t, e, 100, total(keyA, 6, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-1m50s end"}, emit(t, e, 110, total(keyA, 6, 1)))

	assert.Empty(t, emit(t, e, 120), "a series that has ended needs no second end when its key is dropped")
	emit(t, e, 140, total(keyB, 1, 131))
	refuse(e, 150)
	assert.Equal(t, []string{"map[s:x] m map[a:2] 2m11s-2m40s end"}, emit(t, e, 160), "the end of a dropped key")
	assert.Zero(t, e.series.Len())
}

// An idle key that a store restored was ended by the process before; when it is counted again it goes on.
func TestStaleRestored(t *testing.T) {
	e := New(Settings{StaleAfter: 20 * time.Second, Since: at(100)})
	idle, live := total(keyA, 5, 1), total(keyB, 5, 1)
	idle.Restored, idle.Last = 5, at(50)
	live.Restored, live.Last = 5, at(99)
	assert.Equal(t, []string{"map[s:x] m map[a:2] 1s-1m50s 5"}, emit(t, e, 110, idle, live))
	idle.Value, idle.Last = 6, at(115)
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-2m0s 6", "map[s:x] m map[a:2] 1s-2m0s 5"}, emit(t, e, 120, idle, live))
}

// A key that the store has dropped ends its series, with or without StaleAfter, and comes back as a new one.
func TestDroppedKey(t *testing.T) {
	e := New(Settings{Since: at(0)})
	emit(t, e, 10, total(keyA, 5, 1), total(keyB, 1, 1))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-20s end", "map[s:x] m map[a:2] 1s-20s 1"}, emit(t, e, 20, total(keyB, 1, 1)))
	assert.Equal(t, 1, e.series.Len(), "what is gone takes no memory")
	assert.Equal(t, []string{"map[s:x] m map[a:2] 1s-30s 1"}, emit(t, e, 30, total(keyB, 1, 1)))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 31s-31s 0", "map[s:x] m map[a:1] 31s-40s 2", "map[s:x] m map[a:2] 1s-40s 1"},
		emit(t, e, 40, total(keyA, 2, 31), total(keyB, 1, 1)))
}

// A dropped key that comes back before its end was accepted is one series with a new start.
func TestDroppedKeyComesBackAtOnce(t *testing.T) {
	e := New(Settings{Since: at(0)})
	emit(t, e, 10, total(keyA, 5, 1))
	assert.Equal(t, []string{"map[s:x] m map[a:1] 15s-15s 0", "map[s:x] m map[a:1] 15s-20s 9"}, emit(t, e, 20, total(keyA, 9, 15)))
}

func TestDroppedKeyOfDelta(t *testing.T) {
	e := New(Settings{Delta: true, Since: at(0)})
	emit(t, e, 10, total(keyA, 5, 1))
	assert.Empty(t, emit(t, e, 20))
	assert.Zero(t, e.series.Len())
	assert.Equal(t, []string{"map[s:x] m map[a:1] 25s-30s 5"}, emit(t, e, 30, total(keyA, 5, 25)), "not what it added to the old total")
}

// A listing that broke off says nothing about the keys that it did not come to.
func TestBrokenListingEndsNothing(t *testing.T) {
	e := New(Settings{Since: at(0)})
	emit(t, e, 10, total(keyA, 5, 1))
	c, err := e.Collect(func(yield func(store.Total, error) bool) {
		yield(store.Total{}, errors.New("away"))
	}, nil, at(20))
	require.Error(t, err)
	assert.Zero(t, c.Len())
	assert.Equal(t, []string{"map[s:x] m map[a:1] 1s-30s 5"}, emit(t, e, 30, total(keyA, 5, 1)))
}

func TestForgetsFirst(t *testing.T) {
	store := memory.New(memory.WithForgetAfter(time.Minute))
	_, err := NewReader(store, Settings{StaleAfter: time.Hour})
	require.ErrorIs(t, err, ErrForgetsFirst)
	assert.ErrorContains(t, err, "`stale_after` is 1h0m0s")
	assert.ErrorContains(t, err, "1m0s")
	_, err = NewReader(store, Settings{StaleAfter: time.Minute})
	require.NoError(t, err)
}

// However many series end, no point stands behind an end in one metric, and none is missing.
func TestEndsStandAlone(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := New(Settings{ID: "tally/x", Since: at(0)})
		var before, after []store.Total
		for i := range 1 + r.IntN(20) {
			one := total(fmt.Sprintf(`["m%d",{"s":%d},{"a":%d}]`, r.IntN(2), r.IntN(2), i), 1, 1)
			before = append(before, one)
			if r.IntN(2) == 0 {
				after = append(after, one)
			}
		}
		emit(t, e, 10, before...)
		sink := new(consumertest.MetricsSink)
		c, err := e.Collect(totals(after...), nil, at(20))
		require.NoError(t, err)
		require.NoError(t, c.Send(t.Context(), sink))
		points := 0
		for _, rm := range sink.AllMetrics()[0].ResourceMetrics().All() {
			scope := rm.ScopeMetrics().At(0)
			assert.Equal(t, map[string]any{"otelcol.component.id": "tally/x"}, scope.Scope().Attributes().AsRaw())
			for _, m := range scope.Metrics().All() {
				list := m.Sum().DataPoints()
				points += list.Len()
				for i := range list.Len() {
					assert.True(t, list.Len() == 1 || !list.At(i).Flags().NoRecordedValue())
				}
			}
		}
		assert.Equal(t, len(before), points)
	}
}
