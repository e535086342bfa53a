// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadatatest"
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
type running struct {
	*console
	url       string
	telemetry *componenttest.Telemetry
}

// testConfig samples and refreshes fast, at a port that is free.
func testConfig(change ...func(*Config)) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Store = storeID
	cfg.Server.NetAddr.Endpoint = "127.0.0.1:0"
	cfg.SampleInterval = 20 * time.Millisecond
	cfg.RefreshInterval = 20 * time.Millisecond
	cfg.sampleLoad = 1
	for _, f := range change {
		f(cfg)
	}
	return cfg
}

// start returns a console that has taken a first sample, and ends with the test.
func start(t testing.TB, store store.MetricStore, change ...func(*Config)) *running {
	t.Helper()
	s, byStep := store.(*stepped)
	if byStep {
		change = append(change, func(c *Config) { c.RefreshInterval = time.Hour })
	}
	cfg := testConfig(change...)
	require.NoError(t, cfg.Validate())
	telemetry := componenttest.NewTelemetry()
	c := newConsole(metadatatest.NewSettings(telemetry), cfg)
	require.NoError(t, c.Start(t.Context(), host{storeID: storeExtension{store: store}}))
	t.Cleanup(func() {
		assert.NoError(t, c.Shutdown(context.Background()))
		http.DefaultClient.CloseIdleConnections()
	})
	r := &running{console: c, url: "http://" + c.address, telemetry: telemetry}
	if byStep {
		s.step(t, r)
	} else {
		r.settled(t)
	}
	return r
}

// settled waits for a sample that was begun after the call.
func (r *running) settled(t testing.TB) {
	t.Helper()
	before := r.hub.executor.sampler.newest.Load()
	seen := 0
	require.Eventually(t, func() bool {
		if now := r.hub.executor.sampler.newest.Load(); now != before {
			before = now
			seen++
		}
		return seen >= 2
	}, patience, time.Millisecond)
}

// get returns the answer to a GET.
func (r *running) get(t testing.TB, path string) (int, http.Header, []byte) {
	t.Helper()
	return r.do(t, http.MethodGet, path, nil)
}

func (r *running) do(t testing.TB, method, path string, header http.Header) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, http.NoBody)
	require.NoError(t, err)
	for name, values := range header {
		request.Header[name] = values
		if name == "Host" {
			request.Host = values[0]
		}
	}
	return r.send(t, request)
}

func (r *running) send(t testing.TB, request *http.Request) (int, http.Header, []byte) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, body
}

// ask returns the body of an answer that must be 200.
func ask[T any](t testing.TB, r *running, path string) (body T) {
	t.Helper()
	code, _, text := r.get(t, path)
	require.Equal(t, http.StatusOK, code, "%s: %s", path, text)
	require.NoError(t, json.Unmarshal(text, &body))
	return body
}

// refused returns the error of an answer that must be one.
func refused(t testing.TB, r *running, path string, code int) problem {
	t.Helper()
	got, header, text := r.get(t, path)
	require.Equal(t, code, got, "%s: %s", path, text)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	var p problem
	require.NoError(t, json.Unmarshal(text, &p))
	require.NotEmpty(t, p.Error)
	require.NotNil(t, p.Allowed)
	return p
}

var errAway = errors.New(`dial tcp: refused, key ["secret",{},{}]`)

// fragile is a store that fails as it is told: after how many totals, negative = never.
type fragile struct {
	*memory.Store

	// mu guards the field below.
	mu    sync.Mutex
	after int
}

// Self makes the processor count by more than Inc.
func (s *fragile) Self() store.MetricStore { return s }

func newFragile() *fragile { return &fragile{Store: memory.New(), after: -1} }

func (f *fragile) failAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = n
}

func (f *fragile) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		f.mu.Lock()
		after := f.after
		f.mu.Unlock()
		n := 0
		for total, err := range f.Store.Totals(ctx) {
			if n == after {
				break
			}
			n++
			if !yield(total, err) {
				return
			}
		}
		if after >= 0 {
			yield(store.Total{}, errAway)
		}
	}
}

// stepped is a store that is listed only when a test says so: between two steps there is one snapshot, and at each step
// live streams get one event.
type stepped struct {
	*memory.Store
	steps chan struct{}
}

// Self makes the processor count by more than Inc.
func (s *stepped) Self() store.MetricStore { return s }

func newStepped() *stepped { return &stepped{memory.New(), make(chan struct{})} }

func (s *stepped) Totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		select {
		case <-s.steps:
			s.Store.Totals(ctx)(yield)
		case <-ctx.Done():
			yield(store.Total{}, ctx.Err())
		}
	}
}

// step lets the console take one sample, and returns when everybody sees it, and live streams have been sent it.
func (s *stepped) step(t testing.TB, r *running) {
	t.Helper()
	newest := &r.hub.executor.sampler.newest
	before := newest.Load()
	s.steps <- struct{}{}
	require.Eventually(t, func() bool { return newest.Load() != before }, patience, time.Millisecond)
	r.hub.refresh(t.Context())
}
