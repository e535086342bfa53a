package memorystore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/shown"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadata"
	"github.com/logtally/tallyprocessor/store"
)

// numbers are the extension's own metrics. They are read when somebody collects.
type numbers struct {
	builder *metadata.TelemetryBuilder

	flushes      atomic.Int64
	flushErrors  atomic.Int64
	damaged      atomic.Int64
	failingSince atomic.Pointer[time.Time] // with a monotonic reading; nil = the storage works
}

func newNumbers(set extension.Settings, store *memory.Store) (*numbers, error) {
	b, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	n := &numbers{builder: b}
	id := metric.WithAttributeSet(attribute.NewSet(attribute.String("extension", set.ID.String())))
	one := func(load func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(load(), id)
			return nil
		}
	}
	err = errors.Join(
		b.RegisterExtensionTallyMemoryFlushesCallback(one(n.flushes.Load)),
		b.RegisterExtensionTallyMemoryFlushErrorsCallback(one(n.flushErrors.Load)),
		b.RegisterExtensionTallyMemoryStateDamagedCallback(one(n.damaged.Load)),
		b.RegisterExtensionTallyMemoryKeysCallback(func(ctx context.Context, o metric.Int64Observer) error {
			keys, err := count(ctx, store)
			o.Observe(keys, id)
			return err
		}),
		b.RegisterExtensionTallyMemorySumForgottenCallback(
			byMetric(set, store, func(f capability.Forgotten) int { return f.Total })),
		b.RegisterExtensionTallyMemoryKeysForgottenCallback(
			byMetric(set, store, func(f capability.Forgotten) int { return f.Keys })),
		b.RegisterExtensionTallyMemoryStorageFailingDurationCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(n.unsavedSeconds(), id)
			return nil
		}),
	)
	if err != nil {
		b.Shutdown()
		return nil, err
	}
	return n, nil
}

// byMetric shows a number of what was forgotten.
func byMetric(
	set extension.Settings, store capability.Forgetter, number func(capability.Forgotten) int,
) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for name, f := range store.Forgotten() {
			o.Observe(min(int64(number(f)), shown.Largest), metric.WithAttributes(
				attribute.String("extension", set.ID.String()), attribute.String("metric", name)))
		}
		return nil
	}
}

func (n *numbers) unsavedSeconds() float64 {
	since := n.failingSince.Load()
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
