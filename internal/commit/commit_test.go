// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package commit

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("disk full")

// slowStore keeps what was added when a flush began, if that flush goes well.
type slowStore struct {
	*memory.Store
	next func() (takes time.Duration, err error) // how a flush goes

	// mu guards the fields below.
	mu      sync.Mutex
	added   int
	kept    int
	flushes int
}

func (s *slowStore) Info() store.Info { return store.Info{Durable: true} }

func (s *slowStore) add() (all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added++
	return s.added
}

func (s *slowStore) durable() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *slowStore) Flush(ctx context.Context) error {
	s.mu.Lock()
	added := s.added
	s.flushes++
	s.mu.Unlock()
	takes, err := s.next()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.kept = max(s.kept, added)
	}
	return err
}

// Whoever waits without an error has everything durable that it added before, however flushes go, and nobody waits
// after Stop.
func TestWaitsAgainstAModel(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			s := &slowStore{Store: memory.New()}
			patterns := make([]int, 1000)
			for i := range patterns {
				patterns[i] = r.IntN(5000)
			}
			s.next = func() (time.Duration, error) { // one at a time
				p := patterns[s.flushes%len(patterns)]
				if p%3 == 0 {
					return time.Duration(p) * time.Millisecond, errDisk
				}
				if p%97 == 0 {
					panic("page 7")
				}
				return time.Duration(p) * time.Millisecond, nil
			}
			var failures int
			c, err := New(s, func() { failures++ })
			require.NoError(t, err)
			assert.True(t, c.Works())
			c.Start(t.Context())
			var all sync.WaitGroup
			for range 10 {
				pause, patience := time.Duration(r.IntN(2000))*time.Millisecond, time.Duration(r.IntN(20_000))*time.Millisecond
				all.Go(func() { useUntilStopped(t, c, s, pause, patience) })
			}
			time.Sleep(time.Duration(r.IntN(60_000)) * time.Millisecond)
			c.Stop(t.Context())
			all.Wait()
		})
	}
}

func useUntilStopped(t *testing.T, c *Committer, s *slowStore, pause, patience time.Duration) {
	for {
		time.Sleep(pause)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := c.WaitUntilWorks(ctx); err != nil {
			assert.ErrorIs(t, err, ErrStoreFails)
		}
		mine := s.add()
		err := c.Wait(ctx)
		cancel()
		if err == nil {
			assert.GreaterOrEqual(t, s.durable(), mine)
			continue
		}
		assert.ErrorIs(t, err, ErrUnconfirmed)
		if errors.Is(err, ErrStopped) {
			return
		}
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

// A flush that stalls counts as failing from then until it ends, or until another goes well.
func TestStalledFlushes(t *testing.T) {
	for _, failure := range []error{nil, errDisk} {
		for _, takes := range []time.Duration{StalledAfter - 1, StalledAfter, StalledAfter + 1, 10 * StalledAfter} {
			synctest.Test(t, func(t *testing.T) {
				s := &slowStore{Store: memory.New()}
				s.next = func() (time.Duration, error) {
					if s.flushes == 1 {
						return takes, failure
					}
					return 0, nil
				}
				c, err := New(s, func() {})
				require.NoError(t, err)
				c.Start(t.Context())
				waiting := make(chan error, 1)
				go func() { waiting <- c.Wait(context.Background()) }()
				time.Sleep(StalledAfter - 2)
				assert.True(t, c.Works())
				time.Sleep(3 * time.Nanosecond)
				synctest.Wait()
				assert.Equal(t, takes <= StalledAfter+1 && failure == nil, c.Works(), "%v", takes)
				require.NoError(t, c.WaitUntilWorks(context.Background()))
				require.NoError(t, <-waiting)
				assert.True(t, c.Works())
				c.Stop(t.Context())
				require.ErrorIs(t, c.Wait(t.Context()), ErrStopped)
			})
		}
	}
}

// A Committer that stops lets go of a store that fails, or hangs, at once, and of one that is deaf when its time is
// over.
func TestStop(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c, err := New(&slowStore{Store: memory.New(), next: func() (time.Duration, error) { return takes, errDisk }}, func() {})
			require.NoError(t, err)
			c.Start(t.Context())
			waiting, held := make(chan error, 1), make(chan error, 1)
			go func() { waiting <- c.Wait(context.Background()) }()
			time.Sleep(time.Minute)
			go func() { held <- c.WaitUntilWorks(context.Background()) }()
			synctest.Wait()
			began := time.Now()
			c.Stop(t.Context())
			assert.Zero(t, time.Since(began))
			require.ErrorIs(t, <-waiting, ErrUnconfirmed)
			require.ErrorIs(t, <-held, ErrStopped)
		})
	}
}
