// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole"
)

const (
	patience = 30 * time.Second // for whatever must happen at all
	tick     = 20 * time.Millisecond
)

var storeID = component.MustNewID("tally_memory")

// storeExtension offers a store.
type storeExtension struct {
	component.StartFunc
	component.ShutdownFunc
	store store.MetricStore
}

func (e storeExtension) MetricStore() store.MetricStore { return e.store }

// host has extensions.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// running is a console that runs.
type running struct{ address, url string }

// start returns a console over a store that has taken a first sample, and ends with the test. It samples and refreshes
// fast.
func start(t *testing.T, store store.MetricStore, change ...func(*tallyconsole.Config)) *running {
	t.Helper()
	factory := tallyconsole.NewFactory()
	cfg := factory.CreateDefaultConfig().(*tallyconsole.Config)
	cfg.Store = storeID
	cfg.Server.NetAddr.Endpoint = freeAddress(t)
	cfg.SampleInterval, cfg.RefreshInterval = 20*time.Millisecond, 20*time.Millisecond
	for _, f := range change {
		f(cfg)
	}
	require.NoError(t, cfg.Validate())
	c, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), host{storeID: storeExtension{store: store}}))
	t.Cleanup(func() {
		assert.NoError(t, c.Shutdown(context.Background()))
		http.DefaultClient.CloseIdleConnections()
	})
	r := &running{cfg.Server.NetAddr.Endpoint, "http://" + cfg.Server.NetAddr.Endpoint}
	r.settled(t)
	return r
}

// freeAddress returns an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// health is what the tests want to know of /api/v1/health.
type health struct {
	Status struct {
		State  string `json:"state"`
		Number int    `json:"number"` // of the newest sample
	} `json:"status"`
	Subscribers int `json:"subscribers"`
}

func (r *running) health(t require.TestingT) (h health) {
	response, err := http.Get(r.url + "/api/v1/health") //nolint:noctx // it ends with the console
	require.NoError(t, err)
	defer response.Body.Close()
	require.NoError(t, json.NewDecoder(response.Body).Decode(&h))
	return h
}

// subscribers returns how many live streams are open.
func (r *running) subscribers(t require.TestingT) int { return r.health(t).Subscribers }

// settled waits for a sample that was begun after the call, or for the store to be away: then there is none.
func (r *running) settled(t *testing.T) {
	t.Helper()
	before := r.health(t).Status.Number
	require.Eventually(t, func() bool {
		status := r.health(t).Status
		return status.State == "away" || status.Number >= before+2
	}, patience, time.Millisecond)
}

// get returns the answer to a GET.
func (r *running) get(t *testing.T, path string) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, body
}

// totalsPath is a question for the totals of http.requests; parameters are name=value.
func totalsPath(parameters ...string) string {
	values := url.Values{"metric": {"http.requests"}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		values.Add(name, value)
	}
	return "/api/v1/totals?" + values.Encode()
}

// shop is a store with 30 keys, which is its limit, and one overflow key.
func shop() *tallyprocessor.MemoryStore {
	s := tallyprocessor.NewMemoryStore()
	s.Describe(store.Description{Metric: "http.requests", Description: "Requests.", Unit: "{request}", CardinalityLimit: 30})
	s.Describe(store.Description{Metric: "nothing.yet"})
	for i := range 30 {
		s.Add(fmt.Sprintf(`["http.requests",{"service.name":"service-%d"},{"code":%d,"route":"/r/%d"}]`, i%3, 200+i%2*304, i), 100-i)
	}
	s.Add(`["http.requests",{"service.name":"service-0"},{"otel.metric.overflow":true}]`, 1000)
	s.Overflowed("http.requests", `["http.requests",{"service.name":"service-0"},{"route":"/flood"}]`, 900)
	s.Overflowed("http.requests", `["http.requests",{"service.name":"service-0"},{"route":"/little"}]`, 100)
	s.Add("no key of ours", 1)
	return s
}

var errAway = errors.New(`dial tcp: refused, key ["secret",{},{}]`)

// fragile is a store that fails as it is told: after how many totals, negative = never.
type fragile struct {
	*tallyprocessor.MemoryStore
	after atomic.Int64
}

func newFragile(store *tallyprocessor.MemoryStore, after int64) *fragile {
	f := &fragile{MemoryStore: store}
	f.after.Store(after)
	return f
}

// Totals lists as many totals as it may, and then fails.
func (f *fragile) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		left := f.after.Load()
		for total, err := range f.MemoryStore.Totals(ctx) {
			if left == 0 {
				yield(store.Total{}, errAway)
				return
			}
			left--
			if !yield(total, err) {
				return
			}
		}
		if left >= 0 {
			yield(store.Total{}, errAway)
		}
	}
}
