// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// A key that is called like a field of the record gets a warning at start with what to write, and that yields the
// field.
func TestWarnsOfFieldsAsKeys(t *testing.T) {
	for key, value := range map[string]string{
		"severity_text": "severity_text", "severity_number": "severity_number", "body": "body.string", "trace_id": "trace_id.string", "span_id": "span_id.string",
		"event_name": "event_name", "observed_time": "observed_time", "observed_time_unix_nano": "observed_time_unix_nano", "time": "time", "time_unix_nano": "time_unix_nano", "flags": "flags",
		"log.severity_text": "log.severity_text", "log.body": "log.body.string", "scope.name": "scope.name", "instrumentation_scope.version": "instrumentation_scope.version",
		`attributes["env"]`: `attributes["env"]`, `resource.attributes["service.name"]`: `resource.attributes["service.name"]`,
	} {
		synctest.Test(t, func(t *testing.T) {
			config := func(more string) string {
				return fmt.Sprintf("logs: {m: {attributes: [{key: a}, {key: %q%s}]}}", key, more)
			}
			_, lines := logged(t, zap.WarnLevel, config(""))
			require.Len(t, lines.All(), 1, key)
			line := lines.All()[0].ContextMap()
			assert.Equal(t, "m", line["metric"])
			assert.Equal(t, key, line["attribute"])
			assert.Equal(t, "`logs::m::attributes::1`: write `value: "+value+"`", line["change"])

			p, lines := logged(t, zap.DebugLevel, config(fmt.Sprintf(", value: %q", value)))
			send(t, p, func(_ int, r plog.LogRecord) {
				for _, name := range []string{"a", "env"} {
					r.Attributes().PutStr(name, "x")
				}
			})
			for _, line := range lines.All() {
				assert.NotContains(t, fmt.Sprint(line.ContextMap()["reason"], line.ContextMap()["error"]), "rror", "%s: %v", value, line)
			}
		})
	}
}

// What is no field gets no warning.
func TestAttributesThatAreNoFields(t *testing.T) {
	for _, key := range []string{"env", "http.route", "service.name", "level", "severity", "name", "true", "nil", "1", "7", `"a"`, "a b", "k8s.*", "*", "SEVERITY_NUMBER_INFO", "Len(body)", "日本", "body.x y"} {
		synctest.Test(t, func(t *testing.T) {
			_, lines := logged(t, zap.WarnLevel, fmt.Sprintf("logs: {m: {attributes: [{key: %q}]}}", key))
			assert.Empty(t, lines.All(), key)
		})
	}
}

// Totals that are published nowhere are worth a warning at start: a private store, and telemetry that is off.
func TestWarnsOfNoTelemetry(t *testing.T) {
	sdk := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	for name, tt := range map[string]struct {
		telemetry func(*processor.Settings)
		options   []Option
		want      bool
	}{
		"off":                   {func(s *processor.Settings) { s.MeterProvider = noop.NewMeterProvider() }, nil, true},
		"off, as the Collector": {func(s *processor.Settings) { s.MeterProvider = wrapped{noop.NewMeterProvider()} }, nil, true},
		"nobody reads":          {func(s *processor.Settings) { s.MeterProvider = sdkmetric.NewMeterProvider() }, nil, true},
		"on":                    {func(s *processor.Settings) { s.MeterProvider = sdk }, nil, false},
		"off, with a store":     {func(s *processor.Settings) { s.MeterProvider = noop.NewMeterProvider() }, []Option{WithMetricStore(NewMemoryStore())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			core, lines := observer.New(zap.WarnLevel)
			set := processortest.NewNopSettings(metadata.Type)
			set.Logger = zap.New(core)
			tt.telemetry(&set)
			p, err := NewFactory(tt.options...).CreateLogs(t.Context(), set, testConfig(t, ""), consumertest.NewNop())
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
			require.NoError(t, p.Shutdown(context.Background()))
			got := false
			for _, line := range lines.All() {
				got = got || strings.Contains(fmt.Sprint(line.ContextMap()["change"]), "`service::telemetry::metrics::level`")
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

// wrapped is what the Collector gives components whose telemetry is off: a provider of its own type.
type wrapped struct{ noop.MeterProvider }
