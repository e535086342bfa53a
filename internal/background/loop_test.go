// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package background

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/logtally/tallyprocessor/internal/recovered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("away")

// recorder is work that takes some time and knows when it began.
type recorder struct {
	takes time.Duration
	err   error

	// mu guards the fields below.
	mu     sync.Mutex
	zero   time.Time
	begins []time.Duration // of runs, since zero
	last   int             // how many last runs there were
}

func (w *recorder) settings() Settings {
	w.zero = time.Now()
	return Settings{Name: "work", Delay: 10 * time.Second, Interval: 10 * time.Second, Run: w.run, Last: w.lastRun}
}

func (w *recorder) run(context.Context) error {
	w.mu.Lock()
	w.begins = append(w.begins, time.Since(w.zero))
	w.mu.Unlock()
	time.Sleep(w.takes)
	return w.err
}

func (w *recorder) lastRun(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	return w.err
}

func seconds(list ...int) (durations []time.Duration) {
	for _, s := range list {
		durations = append(durations, time.Duration(s)*time.Second)
	}
	return durations
}

func TestRunsEveryIntervalAndALastTime(t *testing.T) {
	for _, tt := range []struct {
		delay, takes int
		want         []time.Duration
	}{
		{0, 0, seconds(0, 10, 20, 30)},
		{5, 0, seconds(5, 15, 25, 35)},
		{10, 9, seconds(10, 20, 30)},
		{10, 12, seconds(10, 22, 34)},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &recorder{takes: time.Duration(tt.takes) * time.Second}
			settings := w.settings()
			settings.Delay = time.Duration(tt.delay) * time.Second
			l := New(settings)
			ctx, cancel := context.WithCancel(t.Context())
			l.Start(ctx)
			l.Start(ctx) // twice is once
			cancel()     // it does not end with the context of Start
			time.Sleep(35 * time.Second)
			synctest.Wait()
			require.NoError(t, l.Stop(t.Context()))
			assert.Equal(t, tt.want, w.begins)
			assert.Equal(t, 1, w.last)
			require.NoError(t, l.Stop(t.Context()), "twice is once")
			l.Start(t.Context())
			require.ErrorIs(t, l.Do(t.Context()), ErrNotRunning, "it ran")
			assert.Equal(t, 1, w.last)
		})
	}
}

func TestStopWithoutStart(t *testing.T) {
	l := New(new(recorder).settings())
	require.ErrorIs(t, l.Do(t.Context()), ErrNotRunning)
	require.NoError(t, l.Stop(t.Context()))
	l.Start(t.Context())
	require.ErrorIs(t, l.Do(t.Context()), ErrNotRunning)
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &recorder{}
		settings := w.settings()
		settings.Jitter = 0.25
		l := New(settings)
		l.Start(t.Context())
		time.Sleep(time.Hour)
		require.NoError(t, l.Stop(t.Context()))
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(w.begins); i++ {
			between := w.begins[i] - w.begins[i-1]
			assert.GreaterOrEqual(t, between, 7500*time.Millisecond)
			assert.LessOrEqual(t, between, 10*time.Second)
			distinct[between] = true
		}
		assert.Greater(t, len(distinct), 300)
	})
}

// Who asks during a run waits for the next, and all who ask then have the same.
func TestDoIsTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &recorder{takes: 4 * time.Second, err: errAway}
		l := New(w.settings())
		l.Start(t.Context())
		time.Sleep(time.Second)
		require.ErrorIs(t, l.Do(t.Context()), errAway) // from 1 s to 5 s
		time.Sleep(6 * time.Second)                    // the run of the interval is from 10 s to 14 s
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				require.ErrorIs(t, l.Do(t.Context()), errAway)
				assert.Equal(t, 18*time.Second, time.Since(w.zero))
			})
		}
		all.Wait()
		require.ErrorIs(t, l.Stop(t.Context()), errAway)
		assert.Equal(t, seconds(1, 10, 14), w.begins)
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &recorder{takes: 4 * time.Second}
		l := New(w.settings())
		l.Start(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := l.Do(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "work: ")
		assert.Equal(t, time.Second, time.Since(w.zero))
		require.NoError(t, l.Stop(t.Context()), "the run goes on")
		assert.Equal(t, 4*time.Second, time.Since(w.zero))
	})
}

// Work that goes on holds Stop until its deadline, whether it heeds its context or not, and whether it is a run or the
// last one.
func TestStopDeadline(t *testing.T) {
	for _, deaf := range []bool{true, false} {
		for _, last := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				block := func(ctx context.Context) error {
					if deaf {
						<-release
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				}
				nop := func(context.Context) error { return nil }
				settings := Settings{Name: "work", Interval: time.Second, Run: block, Last: nop}
				if last {
					settings.Run, settings.Last = nop, block
				}
				l := New(settings)
				l.Start(t.Context())
				time.Sleep(3 * time.Second)
				waiting := make(chan error, 1)
				if !last {
					go func() { waiting <- l.Do(context.WithoutCancel(t.Context())) }()
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				began := time.Now()
				require.ErrorIs(t, l.Stop(ctx), context.DeadlineExceeded)
				assert.Equal(t, 200*time.Millisecond, time.Since(began))
				if !last { // even if the run never ends
					require.ErrorIs(t, <-waiting, ErrNotRunning)
				}
				close(release)
			})
		}
	}
}

// Without an interval there are only the runs that somebody asks for.
func TestOnRequestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &recorder{takes: time.Second}
		settings := w.settings()
		settings.Delay, settings.Interval = 0, 0
		l := New(settings)
		l.Start(t.Context())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, w.begins)
		require.NoError(t, l.Do(t.Context()))
		time.Sleep(time.Hour)
		require.NoError(t, l.Do(t.Context()))
		require.NoError(t, l.Stop(t.Context()))
		assert.Equal(t, seconds(3600, 7201), w.begins)
		assert.Equal(t, 1, w.last)
	})
}

// Without a last run nothing is waited for but the end of the present one, which is canceled at once.
func TestStopWithoutALastRun(t *testing.T) {
	for takes := range 3 { // seconds after it was canceled
		synctest.Test(t, func(t *testing.T) {
			l := New(Settings{Name: "work", Run: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Duration(takes) * time.Second)
				return context.Cause(ctx)
			}})
			l.Start(t.Context())
			waiting := make(chan error, 1)
			go func() { waiting <- l.Do(context.Background()) }()
			time.Sleep(time.Minute)
			began := time.Now()
			require.NoError(t, l.Stop(t.Context()))
			assert.Equal(t, time.Duration(takes)*time.Second, time.Since(began))
			require.ErrorIs(t, <-waiting, context.Canceled, "it is the error of the run")
		})
	}
}

// A panic is an error for all who wait, and for the log; the next run is as if nothing had been.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []error
		fail := func(context.Context) error { panic("a secret") }
		l := New(Settings{Name: "work", Interval: 10 * time.Second, Run: fail, Last: fail, Failed: func(err error) { failures = append(failures, err) }})
		l.Start(t.Context())
		time.Sleep(25 * time.Second)
		err := l.Do(t.Context())
		require.ErrorIs(t, err, recovered.ErrPanic)
		require.ErrorContains(t, err, "work: panicked: string\n")
		require.ErrorContains(t, err, "loop_test.go", "it has the stack")
		assert.NotContains(t, err.Error(), "a secret")
		require.ErrorIs(t, l.Stop(t.Context()), recovered.ErrPanic)
		assert.Len(t, failures, 4, "of the runs of 0 s, 10 s and 20 s, and of the one that was asked for")
	})
}

// Whoever asks at whatever moment, runs do not overlap, a run that was waited for has begun after the call, the errors
// are those of that run, and the last run is the last.
func TestManyAsk(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			var running atomic.Bool
			var mu sync.Mutex
			begun, ended := 0, 0
			takes := make([]time.Duration, 10_000)
			for i := range takes {
				takes[i] = time.Duration(r.IntN(3)) * time.Duration(r.IntN(1000)) * time.Millisecond
			}
			settings := Settings{Name: "work", Delay: time.Duration(r.IntN(3)) * time.Second, Interval: time.Duration(r.IntN(3000)+100) * time.Millisecond, Jitter: r.Float64()}
			settings.Run = func(context.Context) error {
				assert.False(t, running.Swap(true), "two at a time")
				mu.Lock()
				n := begun
				begun++
				mu.Unlock()
				time.Sleep(takes[n])
				mu.Lock()
				ended = begun
				mu.Unlock()
				running.Store(false)
				return nil
			}
			lasts := 0
			settings.Last = func(context.Context) error { assert.False(t, running.Load()); lasts++; return nil }
			l := New(settings)
			l.Start(t.Context())
			var all sync.WaitGroup
			for range 20 {
				pauses := []time.Duration{}
				for range r.IntN(10) {
					pauses = append(pauses, time.Duration(r.IntN(2000))*time.Millisecond)
				}
				all.Go(func() {
					for _, pause := range pauses {
						time.Sleep(pause)
						mu.Lock()
						before := begun
						mu.Unlock()
						if err := l.Do(t.Context()); err != nil {
							assert.ErrorIs(t, err, ErrNotRunning)
							return
						}
						mu.Lock()
						assert.Greater(t, ended, before, "a run that began after the call has ended")
						mu.Unlock()
					}
				})
			}
			stopAfter := time.Duration(r.IntN(20_000)) * time.Millisecond
			for range 2 { // at the same time
				all.Go(func() {
					time.Sleep(stopAfter)
					assert.NoError(t, l.Stop(t.Context()))
				})
			}
			all.Wait()
			synctest.Wait()
			assert.Equal(t, 1, lasts)
		})
	}
}
