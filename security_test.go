// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// forged is log content that would clear a terminal, and end the line that it is in to begin another.
const forged = secret + "\x1b[2J\r\n2026-01-01 ERROR all is lost\x9b31m\u2028\x00"

// quotingStore is a store that fails with what it was given.
type quotingStore struct{}

func (quotingStore) Inc(key string)        { panic("cannot count " + key) }
func (quotingStore) Add(key string, _ int) { panic(errors.New("cannot count " + key)) }
func (quotingStore) Get(string) int        { return 0 }

// failing is all that can go wrong with a record at once.
const failing = `
logs:
  absent: {attributes: [{key: absent}]}
  condition: {conditions: ['Substring(attributes["text"], 0, 9999) == "x"']}
  amount: {sum: 'attributes["text"]'}
  sum: {attributes: [{key: v, value: 'Substring(attributes["text"], 0, 9999)'}]}
  full: {cardinality_limit: 1, attributes: [{key: text}, {key: n}]}
  cut: {attributes: [{key: text}]}`

// Above level debug no line of the log has log content in it, whatever goes wrong, in conditions, expressions, limits,
// the store and the next component: so nobody can forge a line, or reach the terminal of who reads it, or find personal
// data there.
func TestLogLinesHoldNoLogContent(t *testing.T) {
	for name, store := range map[string]MetricStore{"counts": NewMemoryStore(), "panics": quotingStore{}} {
		for _, mode := range []string{"ignore", "propagate"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					core, lines := observer.New(zap.InfoLevel)
					set := processortest.NewNopSettings(metadata.Type)
					set.Logger = zap.New(core)
					refused := 0
					next, err := consumer.NewLogs(func(context.Context, plog.Logs) error {
						if refused++; refused%2 == 0 {
							return errors.New("refused: " + forged)
						}
						return nil
					})
					require.NoError(t, err)
					p, err := NewFactory(WithMetricStore(store)).CreateLogs(t.Context(), set, testConfig(t, "error_mode: "+mode+failing), next)
					require.NoError(t, err)
					require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
					for i := range 10 {
						_ = p.ConsumeLogs(t.Context(), logs(3, func(j int, r plog.LogRecord) { // refused now and then
							r.Attributes().PutStr("text", forged)
							r.Attributes().PutInt("n", int64(10*i+j))
							r.Body().SetStr(forged)
						}))
						synctest.Wait()
						time.Sleep(time.Minute)
					}
					require.NoError(t, p.Shutdown(t.Context()))
					require.NotEmpty(t, lines.All())
					for _, line := range lines.All() {
						text := fmt.Sprint(line.Message, line.ContextMap())
						assert.NotContains(t, text, secret)
						assert.NotContains(t, text, "all is lost")
						assert.NotContains(t, text, "\x1b")
					}
				})
			})
		}
	}
}

// The keys that `log_overflowed_keys` lets into the log are printable text in one line.
func TestLoggedKeysAreOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := logged(t, zap.WarnLevel, `{log_overflowed_keys: true, logs: {m: {cardinality_limit: 1, attributes: [{key: text}]}}}`)
		for range 2 {
			send(t, p, func(i int, r plog.LogRecord) { r.Attributes().PutStr("text", fmt.Sprint(forged, i)) })
		}
		list := lines.FilterMessageSnippet("limit is reached").All()
		require.Len(t, list, 1)
		text := fmt.Sprint(list[0].ContextMap()["keys"])
		require.Contains(t, text, secret, "the configuration asks for it")
		assert.NotContains(t, text, "\n")
		assert.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' }), "%q", text)
	})
}

// What tally logs may come back to it as logs to count: it makes a few lines a minute of that, however many it gets.
func TestOwnLogLinesDoNotFeedThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := logged(t, zap.InfoLevel, strings.TrimPrefix(failing, "\n"))
		back := func(line observer.LoggedEntry) plog.Logs {
			return logs(1, func(_ int, r plog.LogRecord) {
				r.Body().SetStr(line.Message)
				for name, value := range line.ContextMap() {
					r.Attributes().PutStr(name, fmt.Sprint(value))
				}
				r.Attributes().PutStr("text", line.Message)
				r.Attributes().PutStr("n", line.Time.String())
			})
		}
		send(t, p, nil)
		const minutes = 60
		// a minute for each metric: one about a reason, one about its limit
		most := minutes * len(testConfig(t, failing).Logs) * 2
		fed := 0
		for range minutes {
			for range 10 { // rounds of the loop within a minute
				for _, line := range lines.TakeAll() {
					require.NoError(t, p.ConsumeLogs(t.Context(), back(line)))
					fed++
					require.LessOrEqual(t, fed, most)
				}
				synctest.Wait()
				time.Sleep(time.Minute / 10)
			}
		}
		assert.Positive(t, fed)
	})
}

// An expression can hash what must not be in a key.
func TestValuesCanBeHashed(t *testing.T) {
	store := NewMemoryStore()
	h := start(t, testConfig(t, `logs: {m: {attributes: [{key: user, value: 'SHA256(attributes["user"])'}]}}`), store, consumertest.NewNop())
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, func(_ int, r plog.LogRecord) { r.Attributes().PutStr("user", "alice") })))
	require.NoError(t, h.Shutdown(t.Context()))
	for total, err := range store.Totals(t.Context()) {
		require.NoError(t, err)
		assert.Contains(t, total.Key, `"user":"2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"`)
		assert.NotContains(t, total.Key, "alice")
	}
}

const hmacKey = "0123456789abcdef0123456789abcdef"

// hmacOf is what `printf %s TEXT | openssl dgst -sha256 -hmac KEY` prints.
func hmacOf(text string) string {
	mac := hmac.New(sha256.New, []byte(hmacKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// With a `hash_function` the store never sees a value, wherever it comes from, and values are told apart in full, by
// their text.
func TestHashesWithAKey(t *testing.T) {
	const yaml = `
logs:
  plain: {attributes: [{key: user, hash_function: HMAC-SHA256, default_value: nobody}]}
  outer: {attributes: [{key: host, hash_function: hmac-sha256}]}
  expression: {attributes: [{key: u, value: 'Concat([attributes["user"], "!"], "")', hash_function: hmac-sha256, optional: true}]}
  glob: {attributes: [{key: us*, hash_function: hmac-sha256}]}
  list: {attributes: [{key: u, value: 'Split("a,b", ",")', hash_function: hmac-sha256}]}
resource_attributes: []
hmac_key: ` + hmacKey
	long := strings.Repeat("x", 2000)
	store := NewMemoryStore()
	h := start(t, testConfig(t, yaml), store, consumertest.NewNop())
	ld := logs(5, func(i int, r plog.LogRecord) {
		switch i {
		case 0:
			r.Attributes().PutStr("user", "alice")
		case 1:
			r.Attributes().PutStr("user", long+"a")
		case 2:
			r.Attributes().PutStr("user", long+"b")
		case 3:
			r.Attributes().PutInt("user", 7)
		}
	})
	resource := plog.NewLogs()
	ld.CopyTo(resource)
	resource.ResourceLogs().At(0).Resource().Attributes().PutStr("host", "secret-host")
	require.NoError(t, h.ConsumeLogs(t.Context(), resource))
	require.NoError(t, h.Shutdown(t.Context()))
	key := func(metric, name, value string) string { return fmt.Sprintf(`[%q,{},{%q:%q}]`, metric, name, value) }
	want := map[string]int{
		key("plain", "user", hmacOf("alice")): 1, key("plain", "user", hmacOf(long+"a")): 1, key("plain", "user", hmacOf(long+"b")): 1,
		key("plain", "user", hmacOf("7")): 1, key("plain", "user", "nobody"): 1,
		key("outer", "host", hmacOf("secret-host")): 5,
		key("expression", "u", hmacOf("alice!")):    1, key("expression", "u", hmacOf(long+"a!")): 1, key("expression", "u", hmacOf(long+"b!")): 1,
		key("expression", "u", hmacOf("7!")): 1, key("expression", "u", hmacOf("<nil>!")): 1,
		key("glob", "user", hmacOf("alice")): 1, key("glob", "user", hmacOf(long+"a")): 1, key("glob", "user", hmacOf(long+"b")): 1,
		key("glob", "user", hmacOf("7")): 1, `["glob",{},{}]`: 1,
		key("list", "u", hmacOf(`["a","b"]`)): 5,
	}
	got := map[string]int{}
	for total, err := range store.Totals(t.Context()) {
		require.NoError(t, err)
		got[total.Key] = total.Value
	}
	assert.Equal(t, want, got)
}

// The key of the hashes is in no printed configuration.
func TestHashKeyIsNeverShown(t *testing.T) {
	cfg := testConfig(t, `{resource_attributes: [], hmac_key: `+hmacKey+`, logs: {m: {attributes: [{key: a, hash_function: hmac-sha256}]}}}`)
	printed := confmap.New()
	require.NoError(t, printed.Marshal(cfg))
	assert.Equal(t, "[REDACTED]", printed.Get("hmac_key"))
	for _, text := range []string{fmt.Sprint(printed.ToStringMap()), fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg)} {
		assert.NotContains(t, text, hmacKey)
	}
}
