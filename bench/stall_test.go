// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
)

// remoteStore is a store as a server might be one: what it is called for is answered when it is ready.
type remoteStore struct {
	store *tallyprocessor.MemoryStore
	ready chan struct{}
}

func (s *remoteStore) Inc(key string)        { s.Add(key, 1) }
func (s *remoteStore) Get(key string) int    { return s.store.Get(key) }
func (s *remoteStore) Add(key string, n int) { <-s.ready; s.store.Add(key, n) }

const (
	stallSamples = 2000
	stallQueue   = stallSamples + 100
	stallRecords = 100
)

// BenchmarkStall measures how long ConsumeLogs takes, batch by batch, with room in the queue: with a store that
// answers, and with one that stalls from the first batch to the last. Without tally it is the time of the next consumer
// alone.
func BenchmarkStall(b *testing.B) {
	ld := shape{records: stallRecords, resources: 1}.logs(b)[0]
	for _, c := range []struct {
		name   string
		stalls bool
		tally  bool
	}{{"none", false, false}, {"answers", false, true}, {"stalls", true, true}} {
		b.Run("store="+c.name, func(b *testing.B) {
			for b.Loop() {
				store := &remoteStore{store: tallyprocessor.NewMemoryStore(), ready: make(chan struct{})}
				if !c.stalls {
					close(store.ready)
				}
				next := consumer.Logs(consumertest.NewNop())
				stop := func() {}
				if c.tally {
					factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(store))
					cfg := configure[*tallyprocessor.Config](b, factory, `logs: {c: {attributes: [{key: http.route}]}}`)
					cfg.Queue.QueueSize = stallQueue
					p, err := factory.CreateLogs(b.Context(), processortest.NewNopSettings(factory.Type()), cfg, next)
					require.NoError(b, err)
					require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
					next, stop = p, func() { require.NoError(b, p.Shutdown(context.Background())) }
				}
				times := measure(b, next, ld)
				if c.stalls {
					close(store.ready)
				}
				stop()
				for unit, share := range map[string]float64{"p50-ns": 0.5, "p99-ns": 0.99, "p99.9-ns": 0.999} {
					b.ReportMetric(float64(times[int(share*float64(len(times)-1))]), unit)
				}
			}
		})
	}
}

// measure returns how long each of some calls took, in ascending order. They come one at a time with a pause, as
// batches do.
func measure(b *testing.B, next consumer.Logs, ld plog.Logs) []time.Duration {
	times := make([]time.Duration, 0, stallSamples)
	for range stallSamples {
		began := time.Now()
		if err := next.ConsumeLogs(context.Background(), ld); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(began))
		for pause := time.Now(); time.Since(pause) < 20*time.Microsecond; {
		}
	}
	slices.Sort(times)
	return times
}
