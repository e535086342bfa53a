// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// injectedProvider and injectedCore are as the Collector makes them for each pipeline.
type injectedProvider struct {
	metric.MeterProvider
	attributes []attribute.KeyValue
}

func (p injectedProvider) Meter(name string, options ...metric.MeterOption) metric.Meter {
	own := metric.NewMeterConfig(options...)
	set := own.InstrumentationAttributes()
	return p.MeterProvider.Meter(name, append(options, metric.WithInstrumentationAttributes(append(slices.Clone(p.attributes), set.ToSlice()...)...))...)
}

func (p injectedProvider) DropInjectedAttributes(names ...string) metric.MeterProvider {
	p.attributes = slices.DeleteFunc(slices.Clone(p.attributes), func(a attribute.KeyValue) bool { return slices.Contains(names, string(a.Key)) })
	return p
}

type injectedCore struct {
	zapcore.Core
	source     zapcore.Core
	attributes []string
}

func newInjectedCore(source zapcore.Core, attributes ...string) zapcore.Core {
	var fields []zap.Field
	for _, name := range attributes {
		fields = append(fields, zap.String(name, "x"))
	}
	return injectedCore{source.With(fields), source, attributes}
}

func (c injectedCore) DropInjectedAttributes(names ...string) zapcore.Core {
	return newInjectedCore(c.source, slices.DeleteFunc(slices.Clone(c.attributes), func(a string) bool { return slices.Contains(names, a) })...)
}

// A tally in two pipelines tells nothing about one of them: neither in the scope of its metrics nor in its log lines.
func TestSharedTallyNamesNoPipeline(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	core, lines := observer.New(zap.InfoLevel)
	factory, cfg := NewFactory(), testConfig(t, `logs: {m: {attributes: [{key: k, optional: true}], cardinality_limit: 1}}`)
	for _, pipeline := range []string{"logs/a", "logs/b"} {
		set := processortest.NewNopSettings(metadata.Type)
		set.MeterProvider = injectedProvider{provider, []attribute.KeyValue{
			attribute.String("otelcol.pipeline.id", pipeline), attribute.String("otelcol.signal", "logs"), attribute.String("otelcol.component.id", "tally"),
		}}
		set.Logger = zap.New(newInjectedCore(core, "otelcol.pipeline.id", "otelcol.signal", "otelcol.component.id"))
		p, err := factory.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
		for range 3 {
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(2, nil)))
		}
		p.(*logsProcessor).settings.Logger.Info("a line")
		settle(t, p)
	}
	for _, name := range []string{"m", "otelcol_processor_tally_records_counted"} {
		_, sizes := readPages(t, reader, name)
		require.NotEmpty(t, sizes)
		for scope := range sizes {
			assert.NotContains(t, scope, "pipeline")
			assert.NotContains(t, scope, "signal")
			assert.Contains(t, scope, "otelcol.component.id")
		}
	}
	require.NotEmpty(t, lines.All())
	for _, line := range lines.All() {
		fields := line.ContextMap()
		assert.NotContains(t, fields, "otelcol.pipeline.id")
		assert.NotContains(t, fields, "otelcol.signal")
		assert.Equal(t, "x", fields["otelcol.component.id"])
	}
}

// readPages returns the scope of each series, and how many series each scope has.
func readPages(t *testing.T, reader sdkmetric.Reader, name string) (scopes map[string]string, sizes map[string]int) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	scopes, sizes = map[string]string{}, map[string]int{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != name {
				continue
			}
			text := fmt.Sprint(scope.Scope.Attributes.MarshalLog())
			sizes[text] += len(sum.DataPoints)
			for _, p := range sum.DataPoints {
				scopes[fmt.Sprint(p.Attributes.MarshalLog())] = text
			}
		}
	}
	return scopes, sizes
}
