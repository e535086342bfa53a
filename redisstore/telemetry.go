// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/shown"
	"github.com/logtally/tallyprocessor/redisstore/internal/metadata"
)

// numbers are the extension's own metrics. They are read when somebody collects.
type numbers struct {
	builder *metadata.TelemetryBuilder

	flushes       atomic.Int64
	keysFlushed   atomic.Int64
	storageErrors atomic.Int64
	keysDropped   atomic.Int64
	full          atomic.Int64              // additions that a total on the server could not take in full
	failingSince  atomic.Pointer[time.Time] // with a monotonic reading; nil = the server works

	// mu guards the fields below.
	mu       sync.Mutex
	failures map[string]int64 // by class
	events   map[string]int64
}

// newNumbers returns metrics that nobody reads before show.
func newNumbers() *numbers {
	return &numbers{failures: map[string]int64{}, events: map[string]int64{}}
}

// show makes the metrics be read.
func (n *numbers) show(set extension.Settings, s *redisStore) error {
	b, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return err
	}
	id := attribute.String("extension", set.ID.String())
	forgotten := func(number func(capability.Forgotten) int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for name, f := range s.Forgotten() {
				o.Observe(min(int64(number(f)), shown.Largest), metric.WithAttributes(id, attribute.String("metric", name)))
			}
			return nil
		}
	}
	one := func(load func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(load(), metric.WithAttributes(id))
			return nil
		}
	}
	by := func(name string, counts map[string]int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for value, count := range n.copy(counts) {
				o.Observe(count, metric.WithAttributes(id, attribute.String(name, value)))
			}
			return nil
		}
	}
	err = errors.Join(
		b.RegisterExtensionTallyRedisSumForgottenCallback(forgotten(func(f capability.Forgotten) int { return f.Total })),
		b.RegisterExtensionTallyRedisFlushesCallback(one(n.flushes.Load)),
		b.RegisterExtensionTallyRedisKeysCallback(one(s.local.keys.Load)),
		b.RegisterExtensionTallyRedisKeysDroppedCallback(one(n.keysDropped.Load)),
		b.RegisterExtensionTallyRedisKeysForgottenCallback(forgotten(func(f capability.Forgotten) int { return f.Keys })),
		b.RegisterExtensionTallyRedisKeysFlushedCallback(one(n.keysFlushed.Load)),
		b.RegisterExtensionTallyRedisKeyLimitHitsCallback(one(s.local.overflowed.Load)),
		b.RegisterExtensionTallyRedisKeysPendingCallback(one(s.writer.waiting.Load)),
		b.RegisterExtensionTallyRedisStorageErrorsCallback(one(n.storageErrors.Load)),
		b.RegisterExtensionTallyRedisFlushErrorsCallback(by("class", n.failures)),
		b.RegisterExtensionTallyRedisEventsCallback(by("event", n.events)),
		b.RegisterExtensionTallyRedisServerFailingDurationCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(n.unsentSeconds(), metric.WithAttributes(id))
			return nil
		}),
	)
	if err != nil {
		b.Shutdown()
		return err
	}
	n.builder = b
	return nil
}

// hide ends show.
func (n *numbers) hide() {
	if n.builder != nil {
		n.builder.Shutdown()
		n.builder = nil
	}
}

func (n *numbers) copy(counts map[string]int64) map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(counts)
}

func (n *numbers) flushed(keys int, full int64) {
	n.keysFlushed.Add(int64(keys))
	n.full.Add(full)
}

func (n *numbers) failed(class string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failures[class]++
}

func (n *numbers) happened(what event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events[string(what)]++
}

func (n *numbers) unsentSeconds() float64 {
	since := n.failingSince.Load()
	if since == nil {
		return 0
	}
	return time.Since(*since).Seconds()
}
