// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconnector"
	"github.com/logtally/tallyprocessor/tallyreceiver"
)

// configure reads a configuration as a user writes it.
func configure[C component.Config](t testing.TB, factory interface{ CreateDefaultConfig() component.Config }, yaml string) C {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(yaml), 0o600))
	conf, err := confmaptest.LoadConf(path)
	require.NoError(t, err)
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, conf.Unmarshal(cfg))
	return cfg.(C)
}

// startConnector starts a connector from logs to metrics.
func startConnector(t testing.TB, factory connector.Factory, yaml string, next consumer.Metrics) connector.Logs {
	t.Helper()
	cfg := configure[component.Config](t, factory, yaml)
	c, err := factory.CreateLogsToMetrics(context.Background(), connectortest.NewNopSettings(factory.Type()), cfg, next)
	require.NoError(t, err)
	require.NoError(t, c.Start(context.Background(), componenttest.NewNopHost()))
	return c
}

// startMetricsProcessor starts a processor of metrics.
func startMetricsProcessor(t testing.TB, factory processor.Factory, next consumer.Metrics) processor.Metrics {
	t.Helper()
	p, err := factory.CreateMetrics(context.Background(), processortest.NewNopSettings(factory.Type()), factory.CreateDefaultConfig(), next)
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
	return p
}

// countWithConnector counts logs with the tally connector and returns what it sends, as deltas.
func countWithConnector(t *testing.T, yaml string, logs plog.Logs) *consumertest.MetricsSink {
	t.Helper()
	sink := new(consumertest.MetricsSink)
	factory := tallyconnector.NewFactory()
	cfg := configure[*tallyconnector.Config](t, factory, yaml)
	cfg.Temporality = "delta"
	c, err := factory.CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(factory.Type()), cfg, sink)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, c.ConsumeLogs(t.Context(), logs))
	require.NoError(t, c.Shutdown(t.Context()))
	return sink
}

// countWithReceiver counts logs with the tally processor into a store that the tally receiver reads, and returns what
// that sends, as deltas.
func countWithReceiver(t *testing.T, yaml string, logs plog.Logs) *consumertest.MetricsSink {
	t.Helper()
	id := component.MustNewID("shared")
	host := storeHost{componenttest.NewNopHost(), map[component.ID]component.Component{id: storeExtension{store: tallyprocessor.NewMemoryStore()}}}

	factory := tallyprocessor.NewFactory()
	cfg := configure[*tallyprocessor.Config](t, factory, yaml)
	cfg.Store = &id
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host))
	require.NoError(t, p.ConsumeLogs(t.Context(), logs))
	require.NoError(t, p.Shutdown(t.Context()))

	sink := new(consumertest.MetricsSink)
	receivers := tallyreceiver.NewFactory()
	receiverCfg := receivers.CreateDefaultConfig().(*tallyreceiver.Config)
	receiverCfg.Store = &id
	receiverCfg.Temporality = "delta"
	receiverCfg.InitialDelay = receiverCfg.CollectionInterval // so that there is one emission, that of Shutdown
	r, err := receivers.CreateMetrics(t.Context(), receivertest.NewNopSettings(receivers.Type()), receiverCfg, sink)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), host))
	require.NoError(t, r.Shutdown(t.Context()))
	return sink
}

type storeExtension struct {
	component.StartFunc
	component.ShutdownFunc
	store store.MetricStore
}

func (e storeExtension) MetricStore() store.MetricStore { return e.store }

type storeHost struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h storeHost) GetExtensions() map[component.ID]component.Component { return h.extensions }
