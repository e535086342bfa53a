// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/redisstore"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole"
)

// redisStore is a store whose totals are in a real Redis.
func redisStore(t *testing.T, server *redistest.Server) store.MetricStore {
	t.Helper()
	factory := redisstore.NewFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"endpoints": []any{server.Addr()}, "tls": map[string]any{"insecure": true}, "timeout": "200ms", "flush_interval": "50ms",
		"heartbeat_interval": "200ms", "max_backoff": "200ms", "shards": 2,
	}).Unmarshal(cfg))
	e, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.Shutdown(ctx) // what the end of the test leaves unsent
	})
	return e.(interface {
		component.Component
		MetricStore() store.MetricStore
	}).MetricStore()
}

// testAwayAndBack: the page says that the store is away while a real Redis is down, shows what was there before, and
// goes on by itself. The same goes for the console itself.
func testAwayAndBack(t *testing.T, browser context.Context) {
	server := redistest.Start(t)
	store := redisStore(t, server)
	p := counter(t, store)
	r := start(t, store, func(c *tallyconsole.Config) { c.SampleInterval = 100 * time.Millisecond })
	b := newTab(t, browser, 1280, 900)
	count(t, p, 7, "/cart", 200)
	b.open(r, "")
	b.until(firstTotal + ` === '7'`)
	b.until(`document.getElementById('state').dataset.state === 'ok'`)
	server.Kill()
	b.until(`document.getElementById('notes').innerText.includes('The store is away: this is what it had')`)
	b.until(`document.getElementById('state').innerText.includes('The store is away')`)
	assert.Equal(t, "7", js[string](b, firstTotal))
	count(t, p, 2, "/cart", 200)
	server.Restart()
	b.until(`document.getElementById('state').dataset.state === 'ok' && ` + firstTotal + ` === '9'`)
	assert.NotContains(t, js[string](b, `document.getElementById('notes').innerText`), "away")
	b.clean(r)
}
