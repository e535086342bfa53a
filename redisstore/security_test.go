// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
)

// hostile are texts that mean something to the protocol of the server, to its scripts, or to where a Cluster puts a
// key.
var hostile = []string{
	"a\r\nFLUSHALL\r\n", "*1\r\n$8\r\nFLUSHALL\r\n", "$-1\r\n", "+OK\r\n", "a\x00b", "\x00", "{other}", "}{", "{", "}:totals", "{tally:0}:totals",
	"'); redis.call('FLUSHALL') --", "]]; return redis.call('FLUSHALL')", "%s%n", "*", "?", "[a-z]", "\x1b[2J", "\xff\xfe", "", ":", "g", "s", "victim",
}

// Whatever text the logs bring to the server, it is a field of a hash or data of a constant script there: it begins no
// command, names no key, and chooses no slot of a Cluster.
func TestTextFromLogsIsOnlyData(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("SET", "victim", "untouched")
	s := open(t, testConfig(server.Addr())).store
	want := map[string]int{}
	for i, text := range hostile {
		s.Add(text, i+1)
		want[text] = i + 1
		s.Describe(store.Description{Metric: text, Description: text, Unit: text})
	}
	require.NoError(t, s.Flush(t.Context()))
	assert.Equal(t, want, read(t, s))
	for i, text := range hostile {
		assert.Equal(t, i+1, s.Get(text), "%q", text)
	}
	assert.Len(t, open(t, testConfig(server.Addr())).store.Descriptions(), len(hostile))

	assert.Equal(t, "untouched", server.CLI("GET", "victim"))
	ours := regexp.MustCompile(`^(\{tally:\d+\}:(totals|writers|descriptions|writer:[A-Z0-9]{26}\.2\.[A-Z0-9]{8})|victim)$`)
	for _, name := range strings.Fields(server.CLI("KEYS", "*")) {
		assert.Regexp(t, ours, name)
	}
}

// A password is in no log line, error, status or printed configuration, whatever goes wrong.
func TestPasswordIsNeverShown(t *testing.T) {
	defer awaitLibrary()
	const password, sentinelPassword = "pw-of-the-server", "pw-of-the-sentinel"
	server := redistest.Start(t)
	server.CLI("CONFIG", "SET", "requirepass", "something-else")
	core, lines := observer.New(zapcore.DebugLevel)
	host := newWatcher()
	var shown []string
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"wrong password", func(*Config) {}},
		{"wrong user", func(c *Config) { c.Username = "nobody" }},
		{"TLS to a server without", func(c *Config) { c.TLS.Insecure = false }},
		{"no Sentinel", func(c *Config) { c.Sentinel.MasterName = "m" }},
		{"no Cluster", func(c *Config) { c.Cluster = true }},
	} {
		cfg := testConfig(server.Addr())
		cfg.Password, cfg.Sentinel.Password = configopaque.String(password), configopaque.String(sentinelPassword)
		cfg.ShutdownTimeout = 200 * time.Millisecond
		c.change(cfg)
		require.NoError(t, cfg.Validate(), c.name)
		set := extensiontest.NewNopSettings(typ)
		set.Logger = zap.New(core)
		e := newExtension(set, cfg)
		require.NoError(t, e.Start(t.Context(), host), c.name)
		e.store.Add("k", 1)
		err := e.store.Flush(t.Context())
		require.Error(t, err, c.name)
		down := e.Shutdown(t.Context())
		require.ErrorIs(t, down, errUnsent, c.name)
		shown = append(shown, err.Error(), down.Error())

		text, err := json.Marshal(cfg)
		require.NoError(t, err)
		conf := confmap.New()
		require.NoError(t, conf.Marshal(cfg))
		shown = append(shown, string(text), fmt.Sprintf("%v %+v %#v %v", cfg, *cfg, cfg, conf.ToStringMap()))

		cfg.Timeout, cfg.DB = -1, -1
		shown = append(shown, cfg.Validate().Error())
	}
	require.NotEmpty(t, lines.All())
	for _, line := range lines.All() {
		shown = append(shown, fmt.Sprint(line.Message, line.ContextMap()))
	}
	for len(host.events) > 0 {
		event := <-host.events
		shown = append(shown, fmt.Sprint(event.Status(), event.Err()))
	}
	for _, text := range shown {
		assert.NotContains(t, text, password)
		assert.NotContains(t, text, sentinelPassword)
	}
}

// awaitLibrary waits until the client library dials no more, which it does for a moment after its end.
func awaitLibrary() {
	for range 10 {
		if goleak.Find() == nil {
			break
		}
	}
}

// secretEndpoints generates what people write as an endpoint who have a URL with a password.
func secretEndpoints(t *rapid.T) string {
	before := rapid.SampledFrom([]string{"", "redis://", "rediss://", "unix://", "//", "redis:"}).Draw(t, "scheme") +
		rapid.SampledFrom([]string{"u:PASS@", ":PASS@", "PASS@", "u:PASS:", "PASS/", "u,PASS,", "u PASS "}).Draw(t, "user")
	return before + rapid.SampledFrom([]string{"h:6379", "[::1]:6379", "127.0.0.1", "h:6379/0", "h:6379?password=PASS", "h,password=PASS:6379"}).Draw(t, "host")
}

// What is no host:port is refused, and not shown: it may have a password in it.
func TestEndpointsHaveNoSecrets(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		cfg := createDefaultConfig().(*Config)
		cfg.Endpoints, cfg.Cluster = []string{"h:1", secretEndpoints(r)}, true
		err := cfg.Validate()
		require.ErrorContains(r, err, "`endpoints::1`")
		require.ErrorContains(r, err, "host:port")
		require.ErrorContains(r, err, "`password`")
		require.NotContains(r, err.Error(), "PASS")
	})
	for endpoint, valid := range map[string]bool{
		"redis:6379": true, "my_redis-0.my-ns.svc.cluster.local:6379": true, "10.0.0.1:65535": true, "[::1]:6379": true, "[fe80::1%eth0]:6379": true,
		"rédis.example:1": true, ":6379": true,
		"redis": false, "redis:": false, "redis:0": false, "redis:65536": false, "redis:six": false, "redis:-1": false, "::1:6379": false, "a:1:2": false,
		" redis:6379": false, "redis:6379 ": false, "a/b:1": false,
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Endpoints = []string{endpoint}
		if err := cfg.Validate(); valid {
			assert.NoError(t, err, endpoint)
		} else {
			assert.ErrorContains(t, err, "`endpoints::0` must be host:port", endpoint)
		}
	}
}

// What the client library logs is in the Collector's log, at debug level.
func TestLogOfTheClient(t *testing.T) {
	t.Cleanup(awaitLibrary)
	core, lines := observer.New(zap.DebugLevel)
	set := extensiontest.NewNopSettings(typ)
	set.Logger = zap.New(core)
	cfg := testConfig("127.0.0.1:1")
	cfg.Sentinel.MasterName = "m"
	e := newExtension(set, cfg)
	require.NoError(t, e.Start(t.Context(), newWatcher()))
	require.Error(t, e.store.Flush(t.Context()))
	require.NoError(t, e.Shutdown(t.Context()))
	found := lines.FilterMessage("Redis client").All()
	require.NotEmpty(t, found)
	for _, line := range found {
		assert.Equal(t, zap.DebugLevel, line.Level)
	}
}
