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

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// hostile are texts that mean something to the protocol of the server, to its scripts, or to where a Cluster puts a key.
var hostile = []string{
	"a\r\nFLUSHALL\r\n", "*1\r\n$8\r\nFLUSHALL\r\n", "$-1\r\n", "+OK\r\n", "a\x00b", "\x00", "{other}", "}{", "{", "}:totals", "{tally:0}:totals",
	"'); redis.call('FLUSHALL') --", "]]; return redis.call('FLUSHALL')", "%s%n", "*", "?", "[a-z]", "\x1b[2J", "\xff\xfe", "", ":", "g", "s", "victim",
}

// Whatever text the logs bring to the server, it is a field of a hash or data of a constant script there: it begins no command,
// names no key, and chooses no slot of a Cluster.
func TestTextFromLogsIsOnlyData(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("SET", "victim", "untouched")
	s := open(t, testConfig(server.Addr())).store
	want := map[string]int{}
	for i, text := range hostile {
		s.Add(text, i+1)
		want[text] = i + 1
		s.Describe(tallyprocessor.Description{Metric: text, Description: text, Unit: text})
	}
	require.NoError(t, s.Flush(t.Context()))
	assert.Equal(t, want, read(t, s))
	for i, text := range hostile {
		assert.Equal(t, i+1, s.Get(text), "%q", text)
	}
	assert.Len(t, open(t, testConfig(server.Addr())).store.Descriptions(), len(hostile))

	assert.Equal(t, "untouched", server.CLI("GET", "victim"))
	ours := regexp.MustCompile(`^(\{tally:\d+\}:(totals|writers|descriptions|writer:[A-Z0-9]{26}\.[A-Z0-9]{8})|victim)$`)
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
