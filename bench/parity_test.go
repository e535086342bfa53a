// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// The count connector's own cases for logs, as YAML, with the names of its golden files (module
// connector/countconnector v0.161.0, connector_test.go and testdata/logs).
var parityCases = []struct{ name, golden, yaml string }{
	{"zero_conditions", "", `{}`},
	{"one_condition", "", `
logs:
  count.if:
    description: Count if ...
    conditions: ['resource.attributes["resource.optional"] != nil']`},
	{"multiple_conditions", "", `
logs:
  count.if:
    description: Count if ...
    conditions: ['resource.attributes["resource.optional"] != nil', 'attributes["log.optional"] != nil']`},
	{"multiple_conditions with path context", "multiple_conditions", `
logs:
  count.if:
    description: Count if ...
    conditions: ['resource.attributes["resource.optional"] != nil', 'log.attributes["log.optional"] != nil']`},
	{"multiple_metrics", "", `
logs:
  count.all: {description: All logs count}
  count.if:
    description: Count if ...
    conditions: ['resource.attributes["resource.optional"] != nil']`},
	{"one_attribute", "", `
logs:
  log.count.by_attr:
    description: Log count by attribute
    attributes: [{key: log.required}]`},
	{"multiple_attributes", "", `
logs:
  log.count.by_attr:
    description: Log count by attributes
    attributes: [{key: log.required}, {key: log.optional}]`},
	{"default_attribute_value", "", `
logs:
  log.count.by_attr:
    description: Log count by attribute with default
    attributes: [{key: log.required}, {key: log.optional, default_value: other}]`},
	{"condition_and_attribute", "", `
logs:
  log.count.if.by_attr:
    description: Log count by attribute if ...
    conditions: ['resource.attributes["resource.optional"] != nil']
    attributes: [{key: log.required}]`},
}

// TestParity: the connector, and processor, store and receiver, count the cases as the count connector's golden files
// have it: names, descriptions, resources, attributes, values.
func TestParity(t *testing.T) {
	testdata := filepath.Join(moduleDir(t, "github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"), "testdata", "logs")
	for _, tt := range parityCases {
		input, err := golden.ReadLogs(filepath.Join(testdata, "input.yaml"))
		require.NoError(t, err)
		input.MarkReadOnly()
		name := tt.golden
		if name == "" {
			name = tt.name
		}
		want, err := golden.ReadMetrics(filepath.Join(testdata, name+".yaml"))
		require.NoError(t, err)
		for wiring, count := range map[string]func(*testing.T, string, plog.Logs) *consumertest.MetricsSink{
			"connector":                  countWithConnector,
			"processor, store, receiver": countWithReceiver,
		} {
			t.Run(tt.name+"/"+wiring, func(t *testing.T) {
				sink := count(t, tt.yaml, input)
				require.Len(t, sink.AllMetrics(), 1)
				got := sink.AllMetrics()[0]
				unify(want)
				unify(got)
				assert.NoError(t, pmetrictest.CompareMetrics(want, got,
					pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp(),
					pmetrictest.IgnoreResourceMetricsOrder(), pmetrictest.IgnoreMetricsOrder(), pmetrictest.IgnoreMetricDataPointsOrder()))
			})
		}
	}
}

// unify drops what differs on purpose: the scope names the component, and tally has a unit.
func unify(metrics pmetric.Metrics) {
	for _, rm := range metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			sm.Scope().SetName("")
			sm.Scope().SetVersion("")
			sm.Scope().Attributes().Clear()
			for _, m := range sm.Metrics().All() {
				m.SetUnit("")
			}
		}
	}
}

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
