// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// BenchmarkStart is the start of ten processors, a metric each, over a store that holds a million keys of theirs.
func BenchmarkStart(b *testing.B) {
	const processors, keys = 10, 1_000_000
	store := NewMemoryStore()
	for i := range keys {
		store.Inc(fmt.Sprintf(`["m%d",{"service.name":"checkout","service.instance.id":"%d"},{"http.route":"/cart","user":"u%d"}]`, i%processors, i%100, i))
	}
	for b.Loop() {
		for i := range processors {
			p := startedOver(b, store, fmt.Sprintf(`logs: {m%d: {cardinality_limit: 0, attributes: [{key: http.route}, {key: user}]}}`, i))
			require.NoError(b, p.Shutdown(b.Context()))
		}
	}
}

// startedOver returns a processor that has started over a store.
func startedOver(b *testing.B, store MetricStore, yaml string) processor.Logs {
	b.Helper()
	p, err := NewFactory(WithMetricStore(store)).CreateLogs(b.Context(), processortest.NewNopSettings(metadata.Type), testConfig(b, yaml), consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
	return p
}
