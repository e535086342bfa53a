// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter/exportertest"

	"github.com/logtally/tallyprocessor/tallyconnector"
)

// TestPrometheusExporter: 907 records in 10 batches, straight into a Prometheus exporter. With `count` a scrape shows
// the last batch, with tally the total.
func TestPrometheusExporter(t *testing.T) {
	sizes := []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 7}
	scrape := func(factory connector.Factory, yaml string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())

		exporters := prometheusexporter.NewFactory()
		cfg := exporters.CreateDefaultConfig().(*prometheusexporter.Config)
		cfg.ServerConfig.NetAddr.Endpoint = address
		exporter, err := exporters.CreateMetrics(t.Context(), exportertest.NewNopSettings(exporters.Type()), cfg)
		require.NoError(t, err)
		require.NoError(t, exporter.Start(t.Context(), componenttest.NewNopHost()))
		defer func() { assert.NoError(t, exporter.Shutdown(context.Background())) }()

		c := startConnector(t, factory, yaml, exporter)
		for i, n := range sizes {
			at := recordsBegin.Add(time.Duration(i) * time.Second)
			require.NoError(t, c.ConsumeLogs(t.Context(), batch(n, func(int) time.Time { return at })))
		}
		require.NoError(t, c.Shutdown(t.Context()))

		response, err := http.Get("http://" + address + "/metrics")
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, "log_record_count") {
				return strings.TrimSpace(line[strings.LastIndex(line, " "):])
			}
		}
		return ""
	}
	t.Logf("count: 907 sent, the exporter shows %q", scrape(countconnector.NewFactory(), `{}`))
	total, err := strconv.ParseFloat(scrape(tallyconnector.NewFactory(), `{}`), 64)
	require.NoError(t, err)
	t.Logf("tally: 907 sent, the exporter shows %v", total)
	assert.EqualValues(t, 907, total)
}
