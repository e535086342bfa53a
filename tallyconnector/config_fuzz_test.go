// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/tallyconnector/internal/metadata"
)

func FuzzConfig(f *testing.F) {
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, cfg component.Config) (component.Component, error) {
		if q := cfg.(*Config).Tally.Queue; q.NumConsumers > 100 || q.QueueSize > 1000 {
			t.Skip("it is valid, and takes the memory that it asks for")
		}
		return NewFactory().CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	}, "logs: {a: {attributes: [{key: x}]}}\nflush_interval: 1s", "temporality: cumulative\nqueue: {queue_size: 3}", "durable: true")
}
