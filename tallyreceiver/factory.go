// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

// NewFactory returns the factory of the receiver `tally`.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(createMetrics, metadata.MetricsStability),
	)
}

func createMetrics(
	_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics,
) (receiver.Metrics, error) {
	return newMetricsReceiver(set, cfg.(*Config), next)
}
