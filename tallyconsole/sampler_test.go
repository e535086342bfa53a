// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/store"
)

// unruly is a store whose calls go wrong in ways that chance has, for as long as it is bad.
type unruly struct {
	random *rand.Rand
	bad    atomic.Bool
	late   atomic.Bool // an endless listing was not ended
	keys   int
}

// block blocks for up to ten minutes, whatever the caller's deadline is.
func (u *unruly) block() { time.Sleep(time.Duration(u.random.Int64N(int64(10 * time.Minute)))) }

func (u *unruly) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		wrong, at := u.random.IntN(7), u.random.IntN(u.keys+1)
		for i := range u.keys {
			if i == at && u.bad.Load() && !u.misbehave(ctx, wrong, yield) {
				return
			}
			if !yield(u.total(i), nil) {
				return
			}
		}
		if at == u.keys && u.bad.Load() {
			u.misbehave(ctx, wrong, yield)
		}
	}
}

func (u *unruly) total(i int) store.Total {
	return store.Total{Key: fmt.Sprintf(`["m",{},{"a":%d}]`, i), Value: 1, Start: time.Now(), Last: time.Now()}
}

// misbehave returns whether the listing goes on.
func (u *unruly) misbehave(ctx context.Context, wrong int, yield func(store.Total, error) bool) bool {
	switch wrong {
	case 0:
		u.block()
		return true
	case 1:
		<-ctx.Done()
		yield(store.Total{}, ctx.Err())
	case 2:
		<-ctx.Done() // and says nothing
	case 3:
		time.Sleep(time.Duration(u.random.Int64N(int64(10 * time.Second))))
		yield(store.Total{}, errAway)
	case 4:
		panic("no store any more")
	case 5:
		for i := 0; u.bad.Load() && yield(u.total(i%u.keys), nil); i++ { // for ever
			time.Sleep(time.Millisecond)
		}
		if deadline, _ := ctx.Deadline(); time.Since(deadline) > 2*checkEvery*time.Millisecond {
			u.late.Store(true)
		}
	case 6:
		yield(u.total(0), nil)
		yield(store.Total{}, errAway)
	}
	return false
}

func (u *unruly) Describe(store.Description) {}

func (u *unruly) Descriptions() []store.Description {
	if u.bad.Load() && u.random.IntN(3) == 0 {
		u.block()
	}
	return nil
}

// While a store goes wrong for a time, in whatever way, nobody is told that it is well, and when it is well again that
// shows soon: no outage makes the console look away for long.
func TestStoreThatGoesWrong(t *testing.T) {
	seed := evidence.Seed(t)
	for round := range evidence.Rounds(100, 5000) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(round)))
			cfg := createDefaultConfig().(*Config)
			cfg.SampleTimeout = time.Duration(1 + random.Int64N(int64(time.Minute)))
			store := &unruly{random: rand.New(rand.NewPCG(random.Uint64(), 1)), keys: 1 + random.IntN(5)}
			s := newSampler(store, cfg, zap.NewNop(), func(time.Duration) {})
			a := newExecutor(cfg, s)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); s.run(ctx) }()
			time.Sleep(cfg.SampleInterval)
			assert.Equal(t, stateOK, a.status(s.newest.Load()).State)

			store.bad.Store(true)
			for range 20 {
				time.Sleep(time.Duration(random.Int64N(int64(time.Minute))))
				synctest.Wait()
				newest := s.newest.Load()
				if now := a.status(newest); now.State == stateOK {
					pause := max(retryAfter, s.pause(newest.duration, newest.err)) // listing may be slow and succeed
					longest := (pause + cfg.SampleTimeout + overdue + cfg.SampleInterval).Seconds()
					assert.LessOrEqual(t, now.AgeSeconds, longest, "told to be well")
				} else {
					assert.NotEmpty(t, now.Error)
				}
			}
			store.bad.Store(false)
			time.Sleep(11 * time.Minute) // until a call that is blocked returns
			assert.False(t, store.late.Load(), "a listing without end goes on")
			assert.Equal(t, stateOK, a.status(s.newest.Load()).State)
			assert.Equal(t, store.keys, s.newest.Load().Keys)
			cancel()
			<-done
		})
	}
}
