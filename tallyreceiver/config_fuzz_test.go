// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/tallyreceiver/internal/metadata"
)

func FuzzConfig(f *testing.F) {
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, cfg component.Config) (component.Component, error) {
		return NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	}, "store: tally_memory\ncollection_interval: 1s\ninitial_delay: 0s\ntimeout: 1s", "store: s\nstale_after: 5m\ntemporality: delta")
}
