// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadatatest"
)

// A console that was shut down, whatever it did before, or whose start failed, keeps neither the store nor what it has
// made of it in memory, also where somebody keeps the console, its telemetry and the connections of its clients.
func TestShutdownReleasesTheStore(t *testing.T) {
	random := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(12, 200) {
		telemetry := componenttest.NewTelemetry()
		c := newConsole(metadatatest.NewSettings(telemetry), testConfig())
		store, snapshot := func() (weak.Pointer[fragile], weak.Pointer[sample]) {
			s := newFragile()
			s.Store = shop()
			if random.IntN(5) == 0 {
				failToStart(t, c, s)
				return weak.Make(s), weak.Pointer[sample]{}
			}
			require.NoError(t, c.Start(t.Context(), host{storeID: storeExtension{store: s}}))
			r := &running{console: c, url: "http://" + c.address, telemetry: telemetry}
			r.settled(t)
			for range random.IntN(6) {
				switch random.IntN(5) {
				case 0:
					ask[totalsResponse](t, r, totalsPath(fmt.Sprint("limit=", 1+random.IntN(9))))
				case 1:
					r.live(t, fmt.Sprint("metric=http.requests&limit=", 1+random.IntN(9))).next(t)
				case 2:
					r.get(t, "/metrics")
				case 3:
					s.failAfter(random.IntN(3) - 1)
				case 4:
					r.get(t, "/api/v1/overflow?metric=http.requests")
				}
			}
			newest := weak.Make(r.hub.executor.sampler.newest.Load())
			require.NoError(t, c.Shutdown(context.Background()))
			return weak.Make(s), newest
		}()
		assert.Eventually(t, func() bool {
			runtime.GC()
			return store.Value() == nil && snapshot.Value() == nil
		}, patience, tick)
		require.NoError(t, telemetry.Reader.Collect(t.Context(), &metricdata.ResourceMetrics{}))
		runtime.KeepAlive(c)
		require.NoError(t, c.Shutdown(context.Background()))
	}
	http.DefaultClient.CloseIdleConnections()
}

// failToStart lets a console find its port taken.
func failToStart(t *testing.T, c *console, store *fragile) {
	t.Helper()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c.cfg.Server.NetAddr.Endpoint = taken.Addr().String()
	require.Error(t, c.Start(t.Context(), host{storeID: storeExtension{store: store}}))
}
