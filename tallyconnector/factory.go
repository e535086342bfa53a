// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"

	"github.com/logtally/tallyprocessor/tallyconnector/internal/metadata"
)

// NewFactory returns the factory of the connector `tally`.
func NewFactory() connector.Factory {
	return connector.NewFactory(
		metadata.Type,
		createDefaultConfig,
		connector.WithLogsToMetrics(createLogsToMetrics, metadata.LogsToMetricsStability),
	)
}

func createLogsToMetrics(
	ctx context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics,
) (connector.Logs, error) {
	return newLogsConnector(ctx, set, cfg.(*Config), next)
}
