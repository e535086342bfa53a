// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/shown"
)

// Each folder of testdata/rules is a rule: with its config.yaml the records of logs.yaml, as one batch, become
// totals.yaml and, among tally's own metrics, metrics.yaml. The logs pass on unchanged whatever the rule.
func TestRules(t *testing.T) {
	folders, err := filepath.Glob("testdata/rules/*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			config, err := os.ReadFile(filepath.Join(folder, "config.yaml"))
			require.NoError(t, err)
			require.Truef(t, strings.HasPrefix(string(config), "# "), "the first line says the rule")
			ld := ruleLogs(t, readYAML(t, folder, "logs.yaml").([]any))
			want := marshal(t, ld)
			ld.MarkReadOnly()

			store, sink := NewMemoryStore(), new(consumertest.LogsSink)
			h := start(t, testConfig(t, string(config)), store, sink)
			require.NoError(t, h.ConsumeLogs(t.Context(), ld))
			require.NoError(t, h.Shutdown(t.Context()))

			assert.Equal(t, want, marshal(t, sink.AllLogs()[0]))
			totals := map[string]any{}
			sum := 0
			for total, err := range store.Totals(t.Context()) {
				require.NoError(t, err)
				totals[total.Key] = total.Value
				sum += total.Value
			}
			assert.Equal(t, readYAML(t, folder, "totals.yaml"), totals)
			metrics := map[string]any{}
			expected := readYAML(t, folder, "metrics.yaml").(map[string]any)
			for name := range expected {
				metrics[name] = int(h.numberOf(t, name))
			}
			assert.Equal(t, expected, metrics)
			h.requireConserved(t)
			assert.EqualValues(t, min(sum, shown.Largest), h.number(t, "sum_counted"), "the sum over all keys is exact")
		})
	}
}

// numberOf returns the number of a metric written as `name` or `name{attribute=value,...}`.
func (h *harness) numberOf(t *testing.T, series string) int64 {
	t.Helper()
	name, attributes, found := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	if !found {
		return h.number(t, name)
	}
	return h.number(t, name, strings.Split(attributes, ",")...)
}

func marshal(t *testing.T, ld plog.Logs) string {
	t.Helper()
	text, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	require.NoError(t, err)
	return string(text)
}

func readYAML(t *testing.T, folder, file string) any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, file))
	require.NoError(t, err)
	retrieved, err := confmap.NewRetrievedFromYAML(data)
	require.NoError(t, err)
	raw, err := retrieved.AsRaw()
	require.NoError(t, err)
	return raw
}

// ruleLogs reads a list of {resource, scope, records: [{attributes, body, severity_number, times}]}.
func ruleLogs(t *testing.T, list []any) plog.Logs {
	t.Helper()
	part := func(m map[string]any, name string) map[string]any {
		p, _ := m[name].(map[string]any)
		return p
	}
	ld := plog.NewLogs()
	for _, entry := range list {
		entry := entry.(map[string]any)
		rl := ld.ResourceLogs().AppendEmpty()
		require.NoError(t, rl.Resource().Attributes().FromRaw(part(entry, "resource")))
		sl := rl.ScopeLogs().AppendEmpty()
		require.NoError(t, sl.Scope().Attributes().FromRaw(part(entry, "scope")))
		for _, r := range entry["records"].([]any) {
			r := r.(map[string]any)
			times, ok := r["times"].(int)
			if !ok {
				times = 1
			}
			for range times {
				record := sl.LogRecords().AppendEmpty()
				require.NoError(t, record.Attributes().FromRaw(part(r, "attributes")))
				require.NoError(t, record.Body().FromRaw(r["body"]))
				if n, ok := r["severity_number"].(int); ok {
					record.SetSeverityNumber(plog.SeverityNumber(n))
				}
			}
		}
	}
	return ld
}
