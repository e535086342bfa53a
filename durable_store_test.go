// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/contracttest"
	"github.com/logtally/tallyprocessor/internal/commit"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/store"
)

// keepingStore is a store whose disk holds what it held when a flush began.
type keepingStore struct {
	*MemoryStore
	refuses bool // to be durable

	// mu guards the fields below.
	mu      sync.Mutex
	delay   time.Duration
	failure error
	kept    int // the total of key
	flushes int
}

// Self makes the processor count by more than Inc.
func (s *keepingStore) Self() MetricStore { return s }

func newKeepingStore() *keepingStore { return &keepingStore{MemoryStore: NewMemoryStore()} }

func (s *keepingStore) Info() store.Info { return store.Info{Durable: !s.refuses} }

func (s *keepingStore) Flush(ctx context.Context) error {
	total := s.Get(key)
	s.mu.Lock()
	delay, failure := s.delay, s.failure
	s.flushes++
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if failure != nil {
		return failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = max(s.kept, total)
	return nil
}

func (s *keepingStore) onDisk() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *keepingStore) set(delay time.Duration, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.failure = delay, failure
}

func durableConfig(t *testing.T, more string) *Config { return testConfig(t, "durable: true\n"+more) }

var errDisk = errors.New("disk full")

// A store that keeps nothing is a clear mistake at the start.
func TestDurableNeedsADurableStore(t *testing.T) {
	for name, tt := range map[string]struct {
		store MetricStore
		want  string
	}{
		"none":       {nil, "`durable` is true: the store is not durable: set `store` to one that is"},
		"in memory":  {NewMemoryStore(), "`durable` is true: the store is not durable"},
		"not set up": {&keepingStore{MemoryStore: NewMemoryStore(), refuses: true}, "`durable` is true: the store is not durable"},
	} {
		t.Run(name, func(t *testing.T) {
			var options []Option
			if tt.store != nil {
				options = append(options, WithMetricStore(tt.store))
			}
			p, err := NewFactory(options...).CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), durableConfig(t, ""), consumertest.NewNop())
			require.NoError(t, err)
			err = p.Start(t.Context(), componenttest.NewNopHost())
			require.ErrorIs(t, err, commit.ErrNotDurable)
			assert.ErrorContains(t, err, tt.want)
			require.NoError(t, p.Shutdown(t.Context()))
		})
	}
}

// Senders race each other, a disk that fails at times, and Shutdown: whoever is told nil has its counts on disk.
func TestDurableRace(t *testing.T) {
	const senders = 8
	var confirmedInAll, errsInAll int64
	for range 10 {
		store := newKeepingStore()
		h := start(t, durableConfig(t, "queue: {queue_size: 4}"), store, consumertest.NewNop())
		var confirmed, errs atomic.Int64
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range senders {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
					low := confirmed.Load()
					if h.ConsumeLogs(ctx, logs(1, nil)) == nil {
						confirmed.Add(1)
					} else {
						errs.Add(1)
					}
					cancel()
					assert.GreaterOrEqual(t, int64(store.onDisk()), low)
				}
			})
		}
		for i := range 20 {
			if i%10 < 9 {
				store.set(time.Duration(i)*100*time.Microsecond, nil)
			} else {
				store.set(0, errDisk)
			}
			time.Sleep(2 * time.Millisecond)
		}
		store.set(0, nil)
		require.NoError(t, h.Shutdown(t.Context()))
		close(stop)
		wg.Wait()
		assert.GreaterOrEqual(t, int64(store.onDisk()), confirmed.Load())
		assert.Equal(t, store.Get(key), store.onDisk())
		confirmedInAll += confirmed.Load()
		errsInAll += errs.Load()
	}
	assert.Positive(t, confirmedInAll)
	assert.Positive(t, errsInAll)
}

// The contract of consuming holds with `durable`, too.
func TestDurableConsumeContract(t *testing.T) {
	contracttest.Check(t, 500, func(t *testing.T) contracttest.Subject {
		store := newKeepingStore()
		cfg := durableConfig(t, `
resource_attributes: []
logs: {c: {attributes: [{key: test_id}], cardinality_limit: 0}}
queue: {queue_size: 8, num_consumers: 2}`)
		return contracttest.Subject{
			Factory: NewFactory(WithMetricStore(store)),
			Config:  cfg,
			Counted: func(id string) int { return store.Get(fmt.Sprintf(`["c",{},{"test_id":%q}]`, id)) },
			Sum:     func() int { sum, _ := sumOf(t, store); return sum },
		}
	})
}
