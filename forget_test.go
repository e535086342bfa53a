package tallyprocessor

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
)

func forgetKey(metric string, n int) string { return fmt.Sprintf(`["%s",{},{"n":%d}]`, metric, n) }

// listOf returns what a store lists, by key.
func listOf(t *testing.T, s *MemoryStore) map[string]Total {
	t.Helper()
	list := map[string]Total{}
	for total, err := range s.Totals(context.Background()) {
		require.NoError(t, err)
		list[total.Key] = total
	}
	return list
}

// balanceOf returns the sum of all that was counted in a store.
func balanceOf(t *testing.T, s *MemoryStore) int {
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
func keepForgetting(t *testing.T, s *MemoryStore) {
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
		s := NewMemoryStore(WithForgetAfter(10 * time.Second))
		assert.Equal(t, 10*time.Second, s.ForgetAfter())
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
		assert.Equal(t, map[string]Forgotten{
			"a": {Keys: 3, Total: 15}, "b": {Keys: 1, Total: 7}, "": {Keys: 1, Total: 11},
		}, s.Forgotten())
	})
}

func TestForgetNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*MemoryStore{NewMemoryStore(), NewMemoryStore(WithForgetAfter(0)), NewMemoryStore(WithForgetAfter(-1))} {
			s.Inc("a")
			time.Sleep(1000 * time.Hour)
			s.ForgetIdle()
			s.KeepForgetting(t.Context()) // returns
			assert.Zero(t, s.ForgetAfter())
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
			s := NewMemoryStore(WithForgetAfter(after))
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
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		s.Restore(Total{Key: key, Value: 40, Start: s.Opened().Add(-time.Hour), Last: s.Opened().Add(-time.Second)})
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
		assert.Equal(t, Forgotten{Keys: 2, Total: 45}, s.Forgotten()["log.record.count"])
	})
}

// The time between two stores ages no key; what it was idle for in either does.
func TestForgetCountsNoDowntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore(WithForgetAfter(time.Hour))
		crash := time.Now().Add(-365 * 24 * time.Hour)
		idleFor := map[string]time.Duration{"0m": 0, "20m": 20 * time.Minute, "59m": 59 * time.Minute, "60m": time.Hour}
		for key, idle := range idleFor {
			s.Restore(Total{Key: key, Value: 1, Start: crash.Add(-24 * time.Hour), Last: crash.Add(-idle)})
		}
		s.Restore(Total{Key: "future", Value: 1, Start: crash, Last: time.Now().Add(1000 * time.Hour)})
		s.Restore(Total{Key: "ancient", Value: 1, Start: time.Unix(0, math.MinInt64), Last: time.Unix(0, math.MinInt64)})
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
	s := NewMemoryStore(WithForgetAfter(time.Nanosecond))
	var dropped atomic.Int64
	s.AroundForget(func(drop func() []string) { dropped.Add(int64(len(drop()))) })
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

// Whoever keeps its adding apart from forgetting by a lock in its around knows at any time which keys are there, and
// sees an exact balance.
func TestAroundForgetKeepsAddsApart(t *testing.T) {
	const adders, rounds, keys = 3, 3000, 100
	s := NewMemoryStore(WithForgetAfter(time.Nanosecond))
	var mu sync.RWMutex
	var known sync.Map // keys that are in the store; changed under mu
	s.AroundForget(func(drop func() []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range drop() {
			if _, was := known.LoadAndDelete(key); !was {
				t.Errorf("%s was dropped twice", key)
			}
			if s.Get(key) != 0 {
				t.Errorf("%s is still there", key)
			}
		}
	})
	stop := make(chan struct{})
	var adding, forgetter sync.WaitGroup
	forgetter.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.ForgetIdle()
			}
		}
	})
	count := 0
	for a := range adders {
		adding.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(a)))
			for i := range rounds {
				key := forgetKey("m", r.IntN(keys))
				mu.RLock()
				before := s.Get(key)
				known.Store(key, nil)
				s.Inc(key)
				if s.Get(key) <= before {
					t.Errorf("%s was dropped while it was counted", key)
				}
				mu.RUnlock()
				if i%100 == 0 {
					mu.Lock()
					list := listOf(t, s)
					for key := range list {
						if _, is := known.Load(key); !is {
							t.Errorf("%s is a zombie", key)
						}
					}
					mu.Unlock()
				}
			}
			mu.Lock()
			count += rounds
			mu.Unlock()
		})
	}
	adding.Wait()
	close(stop)
	forgetter.Wait()
	assert.Equal(t, count, balanceOf(t, s))
	assert.Greater(t, s.Forgotten()["m"].Keys, keys)
}

func TestAroundForgetNests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		var calls []string
		register := func(name string) func() {
			return s.AroundForget(func(drop func() []string) {
				calls = append(calls, "before "+name)
				keys := drop()
				assert.Equal(t, []string{"a"}, keys, name)
				assert.Equal(t, keys, drop(), "a second call drops nothing more")
				calls = append(calls, "after "+name)
			})
		}
		forget := func() []string {
			calls = nil
			s.Inc("a")
			time.Sleep(time.Minute)
			s.ForgetIdle()
			assert.Zero(t, s.Get("a"))
			return calls
		}
		first, second := register("1"), register("2")
		assert.Equal(t, []string{"before 1", "before 2", "after 2", "after 1"}, forget())
		first()
		first() // twice
		assert.Equal(t, []string{"before 2", "after 2"}, forget())
		second()
		assert.Empty(t, forget())
		assert.Equal(t, Forgotten{Keys: 3, Total: 3}, s.Forgotten()[""])
	})
}

// An around that does not drop keeps the keys, and one that drops too late drops nothing.
func TestAroundForgetMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		var kept func() []string
		outer := 0
		s.AroundForget(func(drop func() []string) { outer += len(drop()) })
		unregister := s.AroundForget(func(drop func() []string) { kept = drop })
		s.Inc("a")
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Empty(t, kept())
		assert.Equal(t, 1, s.Get("a"))
		unregister()
		s.ForgetIdle()
		assert.Zero(t, s.Get("a"))
		assert.Equal(t, 1, outer)
	})
}

func TestAroundForgetUnregisterWaits(t *testing.T) { // by the real clock: a bubble's stands still while a mutex is waited for
	s := NewMemoryStore(WithForgetAfter(1))
	running, release, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(running) })
	unregister := s.AroundForget(func(drop func() []string) { begun(); <-release; drop() })
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
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		s.AroundForget(func(drop func() []string) {
			s.Inc("a")
			assert.Empty(t, drop())
		})
		s.Inc("a")
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, 2, s.Get("a"))
		assert.Empty(t, s.Forgotten())
	})
}

// Many keys go in chunks.
func TestForgetInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 100_000 // more than a chunk in a shard
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		largest, sum := 0, 0
		s.AroundForget(func(drop func() []string) {
			n := len(drop())
			largest, sum = max(largest, n), sum+n
		})
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
		s := NewMemoryStore(WithForgetAfter(time.Minute))
		s.RestoreForgotten("m", math.MaxInt-3)
		assert.Equal(t, map[string]Forgotten{"m": {Total: math.MaxInt - 3}}, s.Forgotten())
		s.Add(forgetKey("m", 0), 3)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, Forgotten{Keys: 1, Total: math.MaxInt}, s.Forgotten()["m"])
		assert.Zero(t, s.Saturated())
		s.Add(forgetKey("m", 0), 3)
		time.Sleep(time.Minute)
		s.ForgetIdle()
		assert.Equal(t, Forgotten{Keys: 2, Total: math.MaxInt}, s.Forgotten()["m"])
		assert.EqualValues(t, 1, s.Saturated())
	})
}

func TestForgottenIsACopy(t *testing.T) {
	s := NewMemoryStore()
	s.Forgotten()["m"] = Forgotten{Total: 1}
	s.RestoreForgotten("n", 2)
	s.Forgotten()["n"] = Forgotten{}
	assert.Equal(t, map[string]Forgotten{"n": {Total: 2}}, s.Forgotten())
}

func TestAllocAddingToAKnownKey(t *testing.T) {
	s := NewMemoryStore(WithForgetAfter(time.Hour))
	s.Inc(key)
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Inc(key) }))
}

func BenchmarkMemoryStoreInc(b *testing.B) {
	s := NewMemoryStore()
	b.ReportAllocs()
	for b.Loop() {
		s.Inc(key)
	}
}
