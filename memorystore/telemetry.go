// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/shown"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadata"
	"github.com/logtally/tallyprocessor/store"
)

// ownMetrics are the extension's own metrics. They are read when somebody collects.
type ownMetrics struct {
	builder *metadata.TelemetryBuilder

	flushes      atomic.Int64
	flushErrors  atomic.Int64
	damaged      atomic.Int64
	failingSince atomic.Pointer[time.Time] // with a monotonic reading; nil = the storage works
}

func newOwnMetrics(set extension.Settings, store *memory.Store) (*ownMetrics, error) {
	b, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	m := &ownMetrics{builder: b}
	if err := m.register(set.ID, store); err != nil {
		b.Shutdown()
		return nil, err
	}
	return m, nil
}

// register says how each metric is read.
func (m *ownMetrics) register(id component.ID, store *memory.Store) error {
	of := metric.WithAttributeSet(attribute.NewSet(attribute.String("extension", id.String())))
	one := func(load func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(load(), of)
			return nil
		}
	}
	return errors.Join(
		m.builder.RegisterExtensionTallyMemoryFlushesCallback(one(m.flushes.Load)),
		m.builder.RegisterExtensionTallyMemoryFlushErrorsCallback(one(m.flushErrors.Load)),
		m.builder.RegisterExtensionTallyMemoryStateDamagedCallback(one(m.damaged.Load)),
		m.builder.RegisterExtensionTallyMemoryKeysCallback(func(ctx context.Context, o metric.Int64Observer) error {
			keys, err := count(ctx, store)
			o.Observe(keys, of)
			return err
		}),
		m.builder.RegisterExtensionTallyMemorySumForgottenCallback(byMetric(id, store, func(f capability.Forgotten) int { return f.Total })),
		m.builder.RegisterExtensionTallyMemoryKeysForgottenCallback(byMetric(id, store, func(f capability.Forgotten) int { return f.Keys })),
		m.builder.RegisterExtensionTallyMemoryStorageFailingDurationCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(m.failingSeconds(), of)
			return nil
		}),
	)
}

// byMetric shows a number of what was forgotten.
func byMetric(id component.ID, store capability.Forgetter, number func(capability.Forgotten) int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for name, f := range store.Forgotten() {
			o.Observe(min(int64(number(f)), shown.Largest), metric.WithAttributes(
				attribute.String("extension", id.String()), attribute.String("metric", name)))
		}
		return nil
	}
}

func (m *ownMetrics) failingSeconds() float64 {
	since := m.failingSince.Load()
	if since == nil {
		return 0
	}
	return time.Since(*since).Seconds()
}

func count(ctx context.Context, totals store.Lister) (keys int64, err error) {
	for _, err := range totals.Totals(ctx) {
		if err != nil {
			return keys, err
		}
		keys++
	}
	return keys, nil
}
