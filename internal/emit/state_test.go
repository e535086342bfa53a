// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor/store"
)

// walk is one series on its way through the states. Its store has one key.
type walk struct {
	t    *testing.T
	e    *Emitter
	now  int
	held *store.Total // nil = the store does not have the key
}

func newWalk(t *testing.T) *walk {
	w := &walk{t: t, now: 100, held: &store.Total{}}
	w.e = New(Settings{Since: at(0), StaleAfter: 60 * time.Second, Settle: 30 * time.Second})
	*w.held = total(keyA, 5, 90)
	return w
}

// collect lets some seconds pass and collects.
func (w *walk) collect(seconds int) *Collection {
	w.t.Helper()
	w.now += seconds
	var list []store.Total
	if w.held != nil {
		list = append(list, *w.held)
	}
	c, err := w.e.Collect(totals(list...), nil, at(w.now))
	require.NoError(w.t, err)
	return c
}

// accept collects, and the next consumer accepts it. The points are without their labels.
func (w *walk) accept(seconds int) (got []string) {
	w.t.Helper()
	sink := new(consumertest.MetricsSink)
	require.NoError(w.t, w.collect(seconds).Send(w.t.Context(), sink))
	for _, line := range lines(sink.AllMetrics()) {
		got = append(got, line[len("map[s:x] m map[a:1] "):])
	}
	return got
}

func (w *walk) refuse(seconds int) {
	w.t.Helper()
	assert.Error(w.t, w.collect(seconds).Send(w.t.Context(), consumertest.NewErr(errors.New("away"))))
}

func (w *walk) state() string {
	s, _, known := w.e.series.Get([]byte(keyA))
	if !known {
		return "forgotten"
	}
	return [...]string{unmet: "unmet", unsent: "unsent", live: "live", stale: "stale", staleBefore: "staleBefore"}[s.state]
}

// come brings a series into each state, at 100 s.
var come = [...]func(w *walk){
	unsent: func(w *walk) { w.held.Value = 0; w.refuse(0) },
	live:   func(w *walk) { w.accept(0) },
	stale: func(w *walk) {
		w.now -= 60
		w.held.Start = at(30)
		w.accept(0)
		require.Equal(w.t, []string{"30s-1m40s end"}, w.accept(60))
	},
	staleBefore: func(w *walk) { w.held.Restored, w.held.Last = 5, at(10); w.accept(0) },
}

// see has a series be observed in each way, by the collection some seconds later.
var see = [...]func(w *walk) (seconds int){
	counted: func(w *walk) int { w.held.Value += 2; return 10 },
	idle:    func(*walk) int { return 10 },
	expired: func(*walk) int { return 60 },
	lower:   func(w *walk) int { w.held.Value--; return 10 },
	reset:   func(w *walk) int { w.held.Value, w.held.Start = 3, at(105); return 10 },
	gone:    func(w *walk) int { w.held = nil; return 10 },
}

// eachCell calls f for each cell of the table, with a series in the state of the cell.
func eachCell(t *testing.T, f func(t *testing.T, w *walk, from state, seen observation)) {
	for from := unsent; from <= staleBefore; from++ {
		for seen := range observations {
			t.Run(fmt.Sprintf("state %d, observation %d", from, seen), func(t *testing.T) {
				w := newWalk(t)
				come[from](w)
				s, _, _ := w.e.series.Get([]byte(keyA))
				require.Equal(t, from, s.state)
				f(t, w, from, seen)
			})
		}
	}
}

// Each cell of the table: what is sent in that state when that is observed, and the state after it was accepted.
func TestTransitions(t *testing.T) {
	again := []string{"1m45s-1m45s 0", "1m45s-1m50s 3"} // with its new start time
	want := [...][observations]struct {
		points []string
		state  string
	}{
		unsent: {
			counted: {[]string{"1m30s-1m30s 0", "1m30s-1m50s 2"}, "live"},
			idle:    {[]string{"1m30s-1m50s 0"}, "live"},
			expired: {[]string{"1m30s-2m40s end"}, "stale"},
			lower:   {nil, "unsent"},
			reset:   {again, "live"},
			gone:    {nil, "forgotten"},
		},
		live: {
			counted: {[]string{"1m30s-1m50s 7"}, "live"},
			idle:    {[]string{"1m30s-1m50s 5"}, "live"},
			expired: {[]string{"1m30s-2m40s end"}, "stale"},
			lower:   {nil, "live"},
			reset:   {again, "live"},
			gone:    {[]string{"1m30s-1m50s end"}, "forgotten"},
		},
		stale: {
			counted: {[]string{"30s-1m50s 7"}, "live"},
			idle:    {nil, "stale"},
			expired: {nil, "stale"},
			lower:   {nil, "stale"},
			reset:   {again, "live"},
			gone:    {nil, "forgotten"},
		},
		staleBefore: {
			counted: {[]string{"1m30s-1m30s 0", "1m30s-1m50s 7"}, "live"},
			idle:    {nil, "staleBefore"},
			expired: {nil, "staleBefore"},
			lower:   {nil, "staleBefore"},
			reset:   {again, "live"},
			gone:    {nil, "forgotten"},
		},
	}
	require.Len(t, want, len(transitions))
	eachCell(t, func(t *testing.T, w *walk, from state, seen observation) {
		assert.Equal(t, want[from][seen].points, w.accept(see[seen](w)))
		assert.Equal(t, want[from][seen].state, w.state())
	})
}

// In each cell, what is refused is in the next collection, with the same start time and value, and leads to the same
// state.
func TestTransitionsWhileRefused(t *testing.T) {
	eachCell(t, func(t *testing.T, w *walk, from state, seen observation) {
		want := w.accept(see[seen](w))
		again := newWalk(t)
		come[from](again)
		if seconds := see[seen](again); len(want) > 0 {
			again.refuse(seconds)
			assert.Equal(t, withoutTimes(want), withoutTimes(again.accept(1)))
			assert.Equal(t, w.state(), again.state())
		}
	})
}

// withoutTimes returns the start times and values of points.
func withoutTimes(points []string) (list []string) {
	for _, p := range points {
		start, rest, _ := strings.Cut(p, "-")
		_, value, _ := strings.Cut(rest, " ")
		list = append(list, start+" "+value)
	}
	return list
}

// In each cell, a delta is what was added, without zero points and markers.
func TestTransitionsOfDeltas(t *testing.T) {
	eachCell(t, func(t *testing.T, w *walk, from state, seen observation) {
		s, _, _ := w.e.series.Get([]byte(keyA))
		w.e.settings.Delta = true
		for _, added := range []int{0, 3} {
			w.e.points = nil
			s.state, s.value = from, s.sent+added
			w.e.follow(s, seen)
			want := []*series{s}
			if added == 0 || seen == lower || seen == gone {
				want = nil
			}
			assert.Equal(t, want, w.e.points)
			assert.Contains(t, []emission{nothing, point, forget}, s.emits)
		}
	})
}
