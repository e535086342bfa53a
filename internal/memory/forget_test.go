// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// key is what most tests count under.
const key = `["log.record.count",{"service.name":"checkout"},{}]`

func forgetKey(metric string, n int) string { return fmt.Sprintf(`["%s",{},{"n":%d}]`, metric, n) }

// listOf returns what a store lists, by key.
func listOf(t *testing.T, s *Store) map[string]store.Total {
	t.Helper()
	list := map[string]store.Total{}
	for total, err := range s.Totals(context.Background()) {
		require.NoError(t, err)
		list[total.Key] = total
	}
	return list
}

// balanceOf returns the sum of all that was counted in a store.
func balanceOf(t *testing.T, s *Store) int {
	t.Helper()
	sum := 0
	for _, total := range listOf(t, s) {
		sum += total.Value
	}
	for _, f := range s.Forgotten() {
		sum += f.Total
	}
	return sum
}

// keepForgetting runs the loop of a store until the test ends.
func keepForgetting(t *testing.T, s *Store) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.KeepForgetting(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestForgetDropsWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(WithForgetAfter(10 * time.Second))
		assert.Equal(t, 10*time.Second, s.Info().ForgetAfter)
		keepForgetting(t, s)
		for n := range 3 {
			s.Add(forgetKey("a", n), 5)
		}
		s.Add(forgetKey("b", 0), 7)
		s.Add("not a key of tally", 11)
		active := forgetKey("a", 99)
		for range 99 {
			s.Inc(active)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		assert.Len(t, listOf(t, s), 6, "nothing is idle for long enough")
		assert.Empty(t, s.Forgotten())
		s.Inc(active)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 100, s.Get(active))
		assert.Len(t, listOf(t, s), 1)
		assert.Equal(t, map[string]capability.Forgotten{
			"a": {Keys: 3, Total: 15}, "b": {Keys: 1, Total: 7}, "": {Keys: 1, Total: 11},
		}, s.Forgotten())
	})
}

func TestForgetNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*Store{New(), New(WithForgetAfter(0)), New(WithForgetAfter(-1))} {
			s.Inc("a")
			time.Sleep(1000 * time.Hour)
			s.ForgetIdle()
			s.KeepForgetting(t.Context()) // returns
			assert.Zero(t, s.Info().ForgetAfter)
			assert.Equal(t, 1, s.Get("a"))
			assert.Empty(t, s.Forgotten())
		}
	})
}

// The loop looks ten times in the time after which a key is dropped, but neither all the time nor hardly ever.
func TestForgetInterval(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second, 20 * time.Second: 22 * time.Second, 100 * time.Hour: 100*time.Hour + time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(WithForgetAfter(after))
			keepForgetting(t, s)
			time.Sleep(time.Millisecond / 2) // so that it becomes idle after a look
			s.Inc("a")
			time.Sleep(want - time.Millisecond)
			synctest.Wait()
			assert.Equal(t, 1, s.Get("a"), "%s", after)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			assert.Zero(t, s.Get("a"), "%s", after)
		})
	}
}

func TestForgottenKeyComesBackAsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(WithForgetAfter(time.Minute))
		s.Restore(store.Total{Key: key, Value: 40, Start: s.Info().Opened.Add(-time.Hour), Last: s.Info().Opened.Add(-time.Second)})
		s.Add(key, 2)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		time.Sleep(time.Second)
		s.Add(key, 3)
		back := listOf(t, s)[key]
		assert.Equal(t, 3, back.Value)
		assert.Zero(t, back.Restored)
		assert.True(t, back.Start.Equal(time.Now()), back.Start)
		assert.True(t, back.Last.Equal(time.Now()), back.Last)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, capability.Forgotten{Keys: 2, Total: 45}, s.Forgotten()["log.record.count"])
	})
}

// The time between two stores ages no key; what it was idle for in either does.
func TestForgetCountsNoDowntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(WithForgetAfter(time.Hour))
		crash := time.Now().Add(-365 * 24 * time.Hour)
		idleFor := map[string]time.Duration{"0m": 0, "20m": 20 * time.Minute, "59m": 59 * time.Minute, "60m": time.Hour}
		for key, idle := range idleFor {
			s.Restore(store.Total{Key: key, Value: 1, Start: crash.Add(-24 * time.Hour), Last: crash.Add(-idle)})
		}
		s.Restore(store.Total{Key: "future", Value: 1, Start: crash, Last: time.Now().Add(1000 * time.Hour)})
		s.Restore(store.Total{Key: "ancient", Value: 1, Start: time.Unix(0, math.MinInt64), Last: time.Unix(0, math.MinInt64)})
		left := func() []string {
			s.ForgetIdle()
			var keys []string
			for key := range listOf(t, s) {
				keys = append(keys, key)
			}
			return keys
		}
		assert.ElementsMatch(t, []string{"0m", "20m", "59m", "future"}, left())
		time.Sleep(time.Minute)
		assert.ElementsMatch(t, []string{"0m", "20m", "future"}, left())
		s.Inc("20m")
		time.Sleep(58 * time.Minute)
		assert.ElementsMatch(t, []string{"0m", "20m", "future"}, left())
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"20m"}, left())
		time.Sleep(time.Minute)
		assert.Empty(t, left())
		assert.Equal(t, 7, balanceOf(t, s))
	})
}

// No increment is lost between a counter that is found and its key that is dropped.
func TestForgetKeepsTheBalance(t *testing.T) {
	const adders, rounds, keys = 4, 20_000, 2000
	s := New(WithForgetAfter(time.Nanosecond))
	var dropped atomic.Int64
	s.OnForget(func(keys []string) { dropped.Add(int64(len(keys))) })
	stop := make(chan struct{})
	var adding, forgetters sync.WaitGroup
	for range 2 {
		forgetters.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.ForgetIdle()
				}
			}
		})
	}
	want := atomic.Int64{}
	for a := range adders {
		adding.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(a)))
			for range rounds {
				n := 1 + r.IntN(3)
				s.Add(forgetKey("m", r.IntN(keys)), n)
				want.Add(int64(n))
			}
		})
	}
	adding.Wait()
	close(stop)
	forgetters.Wait()
	assert.EqualValues(t, want.Load(), balanceOf(t, s))
	s.ForgetIdle()
	assert.Empty(t, listOf(t, s))
	f := s.Forgotten()["m"]
	assert.EqualValues(t, want.Load(), f.Total)
	assert.EqualValues(t, dropped.Load(), f.Keys)
	assert.Greater(t, f.Keys, keys, "or nothing has come back")
}

// All who have registered are told of each key that was dropped, once, when it is gone.
func TestOnForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(WithForgetAfter(time.Minute))
		var calls []string
		register := func(name string) func() {
			return s.OnForget(func(keys []string) {
				assert.Equal(t, []string{"a"}, keys, name)
				assert.False(t, s.Has("a"))
				calls = append(calls, name)
				s.Inc("b") // counting does not wait
			})
		}
		forget := func() []string {
			calls = nil
			s.Inc("a")
			time.Sleep(time.Minute)
			s.Inc("b")
			s.ForgetIdle()
			assert.Zero(t, s.Get("a"))
			return calls
		}
		first, second := register("1"), register("2")
		assert.Equal(t, []string{"1", "2"}, forget())
		first()
		first() // twice
		assert.Equal(t, []string{"2"}, forget())
		second()
		assert.Empty(t, forget())
		assert.Equal(t, capability.Forgotten{Keys: 3, Total: 3}, s.Forgotten()[""])
	})
}

func TestUnregisterWaits(t *testing.T) { // by the real clock: a bubble's stands still while a mutex is waited for
	s := New(WithForgetAfter(1))
	running, release, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(running) })
	unregister := s.OnForget(func([]string) { begun(); <-release })
	s.Inc("a")
	time.Sleep(time.Millisecond)
	go s.ForgetIdle()
	<-running
	go func() { defer close(gone); unregister() }()
	select {
	case <-gone:
		assert.Fail(t, "unregistered while it runs")
	case <-time.After(20 * time.Millisecond):
	}
	s.Inc("b") // does not wait
	close(release)
	<-gone
}

// A key that is counted after it was found idle stays.
func TestForgetLooksAgain(t *testing.T) {
	s := New()
	s.Inc("a")
	looks := 0
	assert.Zero(t, s.Forget(func(string) bool { looks++; return looks == 1 }))
	assert.Equal(t, 2, looks)
	assert.Equal(t, 1, s.Get("a"))
	assert.Empty(t, s.Forgotten())
}

// A key that was bound is there before it is added to.
func TestHas(t *testing.T) {
	s := New()
	assert.False(t, s.Has("a"))
	s.Bind("a")
	assert.True(t, s.Has("a"))
	assert.Zero(t, s.Get("a"))
}

// Many keys go in chunks.
func TestForgetInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 100_000 // more than a chunk in a shard
		s := New(WithForgetAfter(time.Minute))
		largest, sum := 0, 0
		s.OnForget(func(keys []string) { largest, sum = max(largest, len(keys)), sum+len(keys) })
		for n := range keys {
			s.Inc(fmt.Sprint(n))
		}
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, keys, sum)
		assert.Equal(t, forgetChunk, largest)
	})
}

func TestForgottenTotalIsSaturated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(WithForgetAfter(time.Minute))
		s.RestoreForgotten("m", math.MaxInt-3)
		assert.Equal(t, map[string]capability.Forgotten{"m": {Total: math.MaxInt - 3}}, s.Forgotten())
		s.Add(forgetKey("m", 0), 3)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, capability.Forgotten{Keys: 1, Total: math.MaxInt}, s.Forgotten()["m"])
		assert.Zero(t, s.Saturated())
		s.Add(forgetKey("m", 0), 3)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, capability.Forgotten{Keys: 2, Total: math.MaxInt}, s.Forgotten()["m"])
		assert.EqualValues(t, 1, s.Saturated())
	})
}

func TestForgottenIsACopy(t *testing.T) {
	s := New()
	s.Forgotten()["m"] = capability.Forgotten{Total: 1}
	s.RestoreForgotten("n", 2)
	s.Forgotten()["n"] = capability.Forgotten{}
	assert.Equal(t, map[string]capability.Forgotten{"n": {Total: 2}}, s.Forgotten())
}

func TestAllocAddingToAKnownKey(t *testing.T) {
	s := New(WithForgetAfter(time.Hour))
	s.Inc(key)
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Inc(key) }))
}

func BenchmarkMemoryStoreInc(b *testing.B) {
	s := New()
	b.ReportAllocs()
	for b.Loop() {
		s.Inc(key)
	}
}
