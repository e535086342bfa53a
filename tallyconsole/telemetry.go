// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadata"
)

// instruments are the extension's own metrics.
type instruments struct {
	builder *metadata.TelemetryBuilder
	id      attribute.KeyValue
}

func newInstruments(set extension.Settings, s *sampler, h *hub) (*instruments, error) {
	b, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	n := &instruments{builder: b, id: attribute.String("extension", set.ID.String())}
	if err := n.observe(s, h); err != nil {
		b.Shutdown()
		return nil, err
	}
	return n, nil
}

// observe registers what is read when the metrics are.
func (n *instruments) observe(s *sampler, h *hub) error {
	b, id := n.builder, metric.WithAttributeSet(attribute.NewSet(n.id))
	one := func(load func() int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(load()), id)
			return nil
		}
	}
	return errors.Join(
		b.RegisterExtensionTallyConsoleKeysCallback(one(func() int { return s.newest.Load().Keys })),
		b.RegisterExtensionTallyConsoleOverflowKeysCallback(one(func() int { return s.newest.Load().Overflow })),
		b.RegisterExtensionTallyConsoleKeysNotTrackedCallback(one(func() int { return s.newest.Load().Untracked })),
		b.RegisterExtensionTallyConsoleSampleErrorsCallback(one(func() int { return int(s.errors.Load()) })),
		b.RegisterExtensionTallyConsoleSubscribersCallback(one(h.subscribed)),
		b.RegisterExtensionTallyConsoleSubscribersDroppedCallback(one(func() int { return int(h.dropped.Load()) })),
		b.RegisterExtensionTallyConsoleSubscribersRefusedCallback(one(func() int { return int(h.refused.Load()) })),
		b.RegisterExtensionTallyConsoleSnapshotAgeCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(time.Since(s.newest.Load().Taken).Seconds(), id)
			return nil
		}),
	)
}

func (n *instruments) took(d time.Duration) {
	n.builder.ExtensionTallyConsoleSampleDuration.Record(context.Background(), d.Seconds(), metric.WithAttributes(n.id))
}

func (n *instruments) answered(ctx context.Context, route string, code int) {
	n.builder.ExtensionTallyConsoleRequests.Add(ctx, 1, metric.WithAttributes(
		n.id, attribute.String("route", route), attribute.Int("code", code)))
}
