// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// A metrics pipeline that blocks holds Shutdown no longer than its deadline says, or, where there is none, the
// receiver's own: whether it blocks the emission before or the last one, and whether it heeds its context or not.
func TestShutdownDeadline(t *testing.T) {
	for _, deaf := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			for _, deadline := range []time.Duration{0, 200 * time.Millisecond} {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					var blocked atomic.Bool
					blocked.Store(before)
					next, _ := consumer.NewMetrics(func(ctx context.Context, _ pmetric.Metrics) error {
						switch {
						case !blocked.Load():
							return nil
						case deaf:
							<-release
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					})
					store := memory.New()
					r := newReceiver(t, emit.Cumulative, next)
					require.NoError(t, r.Start(t.Context(), hostWith(store)))
					store.Add(key, 5)
					time.Sleep(15 * time.Second)
					blocked.Store(true)
					ctx, want := t.Context(), shutdownTimeout
					if deadline > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, deadline)
						defer cancel()
						want = deadline
					}
					began := time.Now()
					require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
					assert.Equal(t, want, time.Since(began))
					close(release)
					synctest.Wait()
				})
			}
		}
	}
}

// However often a receiver is replaced while its store lives, the deltas add up to the totals, and a cumulative series
// goes on.
func TestSeveralLivesOnOneStore(t *testing.T) {
	for _, temporality := range []emit.Temporality{emit.Delta, emit.Cumulative} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			store := memory.New()
			sink := new(consumertest.MetricsSink)
			total := 0
			for range 20 {
				one := newReceiver(t, temporality, sink)
				require.NoError(t, one.Start(t.Context(), hostWith(store)))
				for range r.IntN(3) {
					n := r.IntN(9) + 1
					store.Add(key, n)
					total += n
					time.Sleep(time.Duration(r.IntN(15)) * time.Second)
				}
				require.NoError(t, one.Shutdown(t.Context()))
				time.Sleep(time.Duration(r.IntN(15)) * time.Second)
			}
			var sum int64
			var last pmetric.NumberDataPoint
			for i, p := range points(sink) {
				sum += p.IntValue()
				if i > 0 {
					assert.Less(t, last.Timestamp(), p.Timestamp())
				}
				if i > 0 && temporality == emit.Cumulative {
					assert.LessOrEqual(t, last.IntValue(), p.IntValue())
					assert.Equal(t, last.StartTimestamp(), p.StartTimestamp())
				}
				last = p
			}
			if temporality == emit.Cumulative {
				sum = last.IntValue()
			}
			assert.EqualValues(t, total, sum)
		})
	}
}

// sharedByMany is a store that many processes share.
type sharedByMany struct {
	store.MetricStore
	store.Lister
}

func (sharedByMany) Info() store.Info { return store.Info{Shared: true} }

func TestNoDeltasOfASharedStore(t *testing.T) {
	r := newReceiver(t, emit.Delta, consumertest.NewNop())
	require.ErrorIs(t, r.Start(t.Context(), hostWith(sharedByMany{})), emit.ErrSharedDelta)
	require.NoError(t, r.Shutdown(t.Context()))
	r = newReceiver(t, emit.Cumulative, consumertest.NewNop())
	store := memory.New()
	require.NoError(t, r.Start(t.Context(), hostWith(sharedByMany{MetricStore: store, Lister: store})))
	require.NoError(t, r.Shutdown(t.Context()))
}
