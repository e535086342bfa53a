// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"iter"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// redisStore is the MetricStore of a fleet. It is safe for concurrent use, and counting never waits for the server.
type redisStore struct {
	local     *local
	reader    *reader
	writer    *writer
	described descriptions
	overflows *memory.Store // has the sketch of what overflows and the claims of components, and no totals
	timeout   time.Duration
	forgets   time.Duration // after which it forgets; 0 = never
	logger    *zap.Logger
}

var (
	_ store.MetricStore         = (*redisStore)(nil)
	_ store.Adder               = (*redisStore)(nil)
	_ store.Binder              = (*redisStore)(nil)
	_ store.Lister              = (*redisStore)(nil)
	_ capability.LocalLister    = (*redisStore)(nil)
	_ store.Flusher             = (*redisStore)(nil)
	_ store.Describer           = (*redisStore)(nil)
	_ capability.Claimer        = (*redisStore)(nil)
	_ store.Informer            = (*redisStore)(nil)
	_ capability.Saturater      = (*redisStore)(nil)
	_ capability.Forgetter      = (*redisStore)(nil)
	_ capability.OverflowKeeper = (*redisStore)(nil)
)

// Inc adds one to the total of key.
func (s *redisStore) Inc(key string) { s.local.add(key, 1) }

// Add adds n to the total of key.
func (s *redisStore) Add(key string, n int) { s.local.add(key, n) }

// Bind returns the Counter of key.
func (s *redisStore) Bind(key string) store.Counter {
	e, own := s.local.bind(key)
	switch {
	case s.forgets <= 0:
		return e
	case own:
		s.local.aliases.remove(key)
		return e
	default:
		return s.local.aliases.of(key, e)
	}
}

// Now returns the time by the clock of this process.
func (s *redisStore) Now() time.Time { return s.local.Now() }

// Get returns the total of key in the fleet. It asks the server; where that does not answer within `timeout` it returns
// what this process has counted.
func (s *redisStore) Get(key string) int {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	err := s.writer.flushNow(ctx)
	if err == nil {
		var total int64
		if total, err = s.reader.get(ctx, key); err == nil {
			return int(min(total, math.MaxInt))
		}
	}
	s.logger.Debug("The total of a key could not be read", zap.Error(err))
	if e, ok := s.local.find(key); ok {
		return int(min(max(0, e.value.Load()), math.MaxInt)) // it may be dropped at this moment
	}
	return 0
}

// Totals yields every key of the fleet, with what this process has counted before the call if the server takes it. What
// cannot be read is left out, and the error comes at the end.
func (s *redisStore) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		_ = s.writer.flushNow(ctx) // health reports it, and what was not sent is not in the totals yet
		if err := s.writer.away(); err != nil {
			yield(store.Total{}, err)
			return
		}
		s.reader.totals(ctx)(func(t store.Total, err error) bool {
			if err != nil {
				s.writer.doubt(err)
			}
			return yield(t, err)
		})
	}
}

// LocalTotals yields what this process has counted.
func (s *redisStore) LocalTotals() iter.Seq[store.Total] { return s.local.totals() }

// Flush returns when everything that was added before is on the server, or with the error of the last attempt: at the
// deadline of ctx, or at once if it has none, or if only somebody's help will do. While the server fails, it is asked
// no more often than the back-off allows. What could not be sent is tried again.
func (s *redisStore) Flush(ctx context.Context) error { return s.writer.flushBy(ctx, false) }

// Claim keeps apart components of this process that count under one name what is not to be added up.
func (s *redisStore) Claim(d store.Description, begin func() any) (shared any, release func(), err error) {
	return s.overflows.Claim(d, begin)
}

// Describe sets the description of a metric.
func (s *redisStore) Describe(d store.Description) { s.described.describe(d) }

// Descriptions returns those of the fleet; where the server does not answer, those of this process.
func (s *redisStore) Descriptions() []store.Description {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	others, err := map[string]store.Description(nil), s.writer.away()
	if err == nil {
		others, err = s.reader.descriptions(ctx)
	}
	if err != nil {
		s.logger.Debug("The descriptions of the fleet could not be read", zap.Error(err))
	}
	return s.described.with(others)
}

// Info says that the server outlives this process, that others count there too, and how long it may take until what it
// has lost is back.
func (s *redisStore) Info() store.Info {
	return store.Info{
		Opened: s.local.opened, Durable: true, Shared: true, SettleTime: s.reader.settle, ForgetAfter: s.forgets,
	}
}

// Saturated returns how many additions a total could not take in full, here or on the server.
func (s *redisStore) Saturated() int64 {
	return s.local.saturated.Load() + s.writer.numbers.full.Load()
}

// OnForget registers told, which is called whenever keys of this process were dropped. unregister waits for a call of
// told, so told must not call it.
func (s *redisStore) OnForget(told func(keys []string)) (unregister func()) {
	return s.writer.listeners.OnForget(told)
}

// Has says whether this process counts key, under its own or, for lack of room, under an overflow key.
func (s *redisStore) Has(key string) bool {
	if s.local.aliases.has(key) { // first: a key has its own entry before its alias goes
		return true
	}
	_, ok := s.local.find(key)
	return ok
}

// Forgotten returns what this process had contributed to keys that were dropped, by metric.
func (s *redisStore) Forgotten() map[string]capability.Forgotten { return s.local.forgottenTotals() }

// Overflowed notes that n was added under an overflow key.
func (s *redisStore) Overflowed(metric, key string, n int) { s.overflows.Overflowed(metric, key, n) }

// Overflows returns the heaviest keys noted by this process.
func (s *redisStore) Overflows(metric string, limit int) []capability.Overflow {
	return s.overflows.Overflows(metric, limit)
}
