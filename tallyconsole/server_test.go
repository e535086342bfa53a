// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadatatest"
)

// TestHosts: a page of another site, whose name was made to resolve to this machine, gets nothing.
func TestHosts(t *testing.T) {
	r := start(t, shop(), func(c *Config) { c.AllowedHosts = []string{"Console.Example", "fd00::1"} })
	for host, want := range map[string]int{
		"localhost": 200, "localhost:13690": 200, "127.0.0.1": 200, "[::1]:13690": 200, "[::1]": 200, "LOCALHOST": 200, "localhost.": 200,
		"console.example": 200, "console.example:443": 200, "[fd00::1]:1": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.nip.io": 421, "console.example.evil": 421, "0.0.0.0": 421,
		"127.0.0.2": 421, "xlocalhost": 421,
	} {
		for _, path := range []string{"/", "/metrics", "/api/v1/metrics", "/api/v1/live?metric=http.requests&limit=0", "/nothing"} {
			code, _, body := r.do(t, http.MethodGet, path, http.Header{"Host": {host}})
			if want == 421 {
				assert.Equal(t, want, code, "%s%s", host, path)
				assert.Contains(t, string(body), "allowed_hosts")
				assert.NotContains(t, string(body), "http.requests")
			} else {
				assert.NotEqual(t, 421, code, "%s%s", host, path)
			}
		}
	}
	for endpoint, want := range map[string]bool{"tally.internal:1": true, "0.0.0.0:1": false, ":1": false} {
		cfg := testConfig()
		cfg.Server.NetAddr.Endpoint = endpoint
		hosts := allowedHosts(cfg)
		assert.Equal(t, want, hosts["tally.internal"], endpoint)
		assert.False(t, hosts["0.0.0.0"] || hosts[""], endpoint)
	}
}

func TestReadOnly(t *testing.T) {
	r := start(t, shop())
	for _, path := range []string{"/", "/metrics", "/api/v1/metrics", totalsPath(), "/api/v1/health"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "WHATEVER"} {
			code, header, _ := r.do(t, method, path, nil)
			assert.Equal(t, http.StatusMethodNotAllowed, code, "%s %s", method, path)
			assert.Equal(t, "GET, HEAD", header.Get("Allow"))
		}
		code, _, body := r.do(t, http.MethodHead, path, nil)
		assert.Equal(t, http.StatusOK, code, path)
		assert.Empty(t, body)
	}
	code, header, _ := r.do(t, http.MethodGet, "/api/v1/health", http.Header{"Origin": {"http://evil.example"}})
	assert.Equal(t, http.StatusOK, code)
	assert.Empty(t, header.Get("Access-Control-Allow-Origin"))
}

func TestSecurityHeaders(t *testing.T) {
	r := start(t, shop())
	for _, path := range []string{"/", "/console.js", "/console.css", "/metrics", totalsPath(), "/api/v1/nothing", "/api/v1/totals"} {
		_, header, _ := r.get(t, path)
		policy := header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'", path)
		assert.Contains(t, policy, "frame-ancestors 'none'", path)
		assert.NotContains(t, policy, "unsafe", path)
		assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "no-referrer", header.Get("Referrer-Policy"), path)
		assert.Equal(t, "same-origin", header.Get("Cross-Origin-Resource-Policy"), path)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	r := start(t, shop())
	for _, path := range []string{
		"/assets/", "/assets/console.js", "/config.go", "/etc/passwd", "/console.js/", "//", "/%2e%2e/config.go", "/..%2fconfig.go",
		"/api", "/api/v1/", "/api/v1/Totals", "/debug/pprof/", "/console.html", "/.git/config",
	} {
		p := refused(t, r, path, http.StatusNotFound)
		assert.Contains(t, p.Allowed, "/api/v1/totals")
	}
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")) // a path that no client sends
	require.NoError(t, err)
	defer connection.Close()
	_, err = connection.Write([]byte("GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

// TestSlowClients: who does not send a request in time loses the connection.
func TestSlowClients(t *testing.T) {
	r := start(t, shop(), func(c *Config) { c.Server.ReadHeaderTimeout = 50 * time.Millisecond })
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer connection.Close()
	_, err = connection.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "))
	require.NoError(t, err)
	require.NoError(t, connection.SetReadDeadline(time.Now().Add(patience)))
	_, err = bufio.NewReader(connection).ReadString('\r')
	assert.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server has ended the connection, not the test")
}

func TestConfig(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"store": "tally_memory/a", "endpoint": "127.0.0.1:1", "allowed_hosts": []any{"a.example", "::1"}, "sample_interval": "3s",
		"tls": map[string]any{"cert_file": "c", "key_file": "k"}, "created_timestamps": true,
	}).Unmarshal(cfg))
	assert.NoError(t, cfg.Validate())
	assert.Equal(t, "127.0.0.1:1", cfg.Server.NetAddr.Endpoint)
	assert.Equal(t, "tally_memory/a", cfg.Store.String())
	assert.True(t, cfg.Server.TLS.HasValue())
	assert.Equal(t, 5*time.Second, cfg.Server.ReadHeaderTimeout)
	err := confmap.NewFromStringMap(map[string]any{"stores": "x", "max_item": 3, "endpoint": "a:1"}).Unmarshal(createDefaultConfig())
	for _, key := range []string{"stores", "max_item"} { // which newer confmaps refuse by themselves
		assert.ErrorContains(t, err, key)
	}
	assert.EqualError(t, createDefaultConfig().(*Config).Validate(), "`store` must be the id of a store extension, such as tally_memory")

	for value, positive := range map[int]bool{0: false, -1: false, 1: true} {
		for _, tt := range []struct {
			name    string
			set     func(*Config)
			zeroFit bool
		}{
			{"sample_interval", func(c *Config) { c.SampleInterval = time.Duration(value) * time.Millisecond }, false},
			{"sample_timeout", func(c *Config) { c.SampleTimeout = time.Duration(value) * time.Millisecond }, false},
			{"query_timeout", func(c *Config) { c.QueryTimeout = time.Duration(value) * time.Millisecond }, false},
			{"refresh_interval", func(c *Config) { c.RefreshInterval = time.Duration(value) * time.Millisecond }, false},
			{"read_header_timeout", func(c *Config) { c.Server.ReadHeaderTimeout = time.Duration(value) * time.Millisecond }, false},
			{"read_timeout", func(c *Config) { c.Server.ReadTimeout = time.Duration(value) * time.Millisecond }, false},
			{"write_timeout", func(c *Config) { c.Server.WriteTimeout = time.Duration(value) * time.Millisecond }, false},
			{"max_tracked_keys", func(c *Config) { c.MaxTrackedKeys = value }, true},
			{"max_items", func(c *Config) { c.MaxItems = value }, false},
			{"max_concurrent_queries", func(c *Config) { c.MaxConcurrentQueries = value }, false},
			{"max_subscribers", func(c *Config) { c.MaxSubscribers = value }, true},
		} {
			cfg := testConfig(tt.set)
			if positive || value == 0 && tt.zeroFit {
				assert.NoError(t, cfg.Validate(), "%s: %d", tt.name, value)
			} else {
				assert.ErrorContains(t, cfg.Validate(), "`"+tt.name+"`", "%d", value)
			}
		}
	}
	bad := testConfig(func(c *Config) { c.MaxItems = 0; c.AllowedHosts = []string{"a:1", ""} })
	assert.EqualError(t, bad.Validate(), "`max_items` is 0: must be positive\n"+
		"`allowed_hosts::0` must be one host name or address, without a port: there are no patterns and no ranges, found \"a:1\"\n"+
		"`allowed_hosts::1` must be one host name or address, without a port: there are no patterns and no ranges, found \"\"")
}

// counting is a store with nothing but the two methods that counting needs.
type counting struct{}

func (counting) Inc(string)     {}
func (counting) Get(string) int { return 0 }

func TestStart(t *testing.T) {
	set := metadatatest.NewSettings(start(t, shop()).telemetry)
	for want, h := range map[string]host{
		"`store` is \"tally_memory\": store extension not found": {},
		"`store` is \"tally_memory\": extension is not a store":  {storeID: struct{ component.Component }{}},
		"does not list its totals":                               {storeID: storeExtension{store: counting{}}},
	} {
		c := newConsole(set, testConfig())
		assert.ErrorContains(t, c.Start(t.Context(), h), want)
		assert.NoError(t, c.Shutdown(t.Context()))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c := newConsole(set, testConfig(func(c *Config) { c.Server.NetAddr.Endpoint = taken.Addr().String() }))
	assert.ErrorContains(t, c.Start(t.Context(), host{storeID: storeExtension{store: shop()}}), "address already in use")
	c = newConsole(set, testConfig(func(c *Config) {
		c.Server.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: component.MustNewID("basicauth")}})
		c.Server.Middlewares = []configmiddleware.Config{{ID: component.MustNewID("limit")}}
	}))
	assert.Equal(t, []component.ID{storeID, component.MustNewID("basicauth"), component.MustNewID("limit")}, c.Dependencies())
	assert.Error(t, c.Start(t.Context(), host{storeID: storeExtension{store: shop()}}), "what it needs is not there")
	assert.NoError(t, c.Shutdown(t.Context()), "twice, and after a start that failed")
}

func TestTelemetry(t *testing.T) {
	store := newFragile()
	store.Store = shop()
	r := start(t, store)
	r.get(t, "/api/v1/metrics")
	r.get(t, "/api/v1/totals")
	r.get(t, "/nothing")
	store.failAfter(0)
	r.settled(t)
	id := attribute.String("extension", r.settings.ID.String())
	byRoute := func(route string, code int, value int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Value: value, Attributes: attribute.NewSet(id, attribute.String("route", route), attribute.Int("code", code))}
	}
	metadatatest.AssertEqualExtensionTallyConsoleRequests(t, r.telemetry, []metricdata.DataPoint[int64]{
		byRoute("metrics", 200, 1), byRoute("totals", 400, 1), byRoute("none", 404, 1),
	}, metricdatatest.IgnoreTimestamp(), metricdatatest.IgnoreExemplars())
	one := func(value int64) []metricdata.DataPoint[int64] {
		return []metricdata.DataPoint[int64]{{Value: value, Attributes: attribute.NewSet(id)}}
	}
	metadatatest.AssertEqualExtensionTallyConsoleKeys(t, r.telemetry, one(30), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionTallyConsoleOverflowKeys(t, r.telemetry, one(1), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionTallyConsoleKeysNotTracked(t, r.telemetry, one(0), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionTallyConsoleSubscribers(t, r.telemetry, one(0), metricdatatest.IgnoreTimestamp())
	for name, positive := range map[string]bool{
		"otelcol_extension_tally_console_sample_errors": true, "otelcol_extension_tally_console_sample_duration": true,
		"otelcol_extension_tally_console_snapshot_age": true, "otelcol_extension_tally_console_subscribers_dropped": false,
	} {
		m, err := r.telemetry.GetMetric(name)
		require.NoError(t, err)
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			assert.Equal(t, positive, data.DataPoints[0].Value > 0, name)
		case metricdata.Gauge[float64]:
			assert.Positive(t, data.DataPoints[0].Value, name)
		case metricdata.Histogram[float64]:
			assert.Positive(t, data.DataPoints[0].Count, name)
		}
	}
}
