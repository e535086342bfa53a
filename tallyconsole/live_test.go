// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/memory"
)

// events reads a stream of server-sent events.
type events struct {
	response *http.Response
	reader   *bufio.Reader
}

func (r *running) live(t testing.TB, query string) *events {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/live?"+query, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return &events{response, bufio.NewReader(response.Body)}
}

// next returns the next event.
func (e *events) next(t testing.TB) (name string, body totalsResponse) {
	t.Helper()
	line, err := e.reader.ReadString('\n')
	require.NoError(t, err)
	data, err := e.reader.ReadString('\n')
	require.NoError(t, err)
	_, err = e.reader.ReadString('\n')
	require.NoError(t, err)
	name = strings.TrimSpace(strings.TrimPrefix(line, "event: "))
	text := strings.TrimPrefix(data, "data: ")
	if name == "status" {
		require.NoError(t, json.Unmarshal([]byte(text), &body.Status))
	} else {
		require.NoError(t, json.Unmarshal([]byte(text), &body))
	}
	return name, body
}

// at returns the totals that a stream has at a snapshot, which is the newest.
func (e *events) at(t testing.TB, number int) totalsResponse {
	t.Helper()
	for {
		name, body := e.next(t)
		require.NotEqual(t, "problem", name)
		if name == "totals" && body.Status.Number == number {
			return body
		}
	}
}

func TestLive(t *testing.T) {
	store := shop()
	r := start(t, store)
	e := r.live(t, "metric=http.requests&group_by=resource.service.name&limit=2")
	require.Equal(t, http.StatusOK, e.response.StatusCode)
	assert.Equal(t, "text/event-stream", e.response.Header.Get("Content-Type"))
	name, body := e.next(t)
	assert.Equal(t, "totals", name)
	assert.Len(t, body.Items, 2)
	before := body.Sum.Total
	assert.Equal(t, 1, ask[healthResponse](t, r, "/api/v1/health").Subscribers)
	store.Add(`["http.requests",{"service.name":"service-0"},{"code":200,"route":"/r/0"}]`, 5)
	for body.Sum.Total != before+5 {
		_, body = e.next(t)
	}
	require.NoError(t, e.response.Body.Close())
	require.Eventually(t, func() bool { return r.hub.subscribed() == 0 }, patience, tick)
	assert.Empty(t, r.hub.watched())
}

// TestLiveWithoutNews: while there is no newer snapshot, a stream says how old it is.
func TestLiveWithoutNews(t *testing.T) {
	store := newFragile()
	store.Store = shop()
	r := start(t, store)
	store.failAfter(0)
	r.settled(t)
	e := r.live(t, "metric=http.requests")
	name, body := e.next(t)
	assert.Equal(t, "totals", name)
	assert.Equal(t, stateAway, body.Status.State)
	for name == "totals" {
		name, body = e.next(t)
	}
	assert.Equal(t, "status", name)
	assert.Equal(t, stateAway, body.Status.State)
}

func TestSubscribersAreBounded(t *testing.T) {
	r := start(t, shop(), func(c *Config) { c.MaxSubscribers = 2 })
	first := r.live(t, "metric=http.requests")
	r.live(t, "metric=http.requests&limit=1").next(t)
	p := refused(t, r, "/api/v1/live?metric=http.requests", http.StatusServiceUnavailable)
	assert.Contains(t, p.Allowed[0], "at most 2")
	assert.Equal(t, int64(1), r.hub.refused.Load())
	require.NoError(t, first.response.Body.Close())
	require.Eventually(t, func() bool { return r.hub.subscribed() == 1 }, patience, tick)
	r.live(t, "metric=http.requests").next(t)
}

// TestSlowSubscribersAreDropped: who does not read is dropped, and the others go on.
func TestSlowSubscribersAreDropped(t *testing.T) {
	store := memory.New()
	for i := range 1000 {
		store.Add(fmt.Sprintf(`["m",{},{"a":"%s%d"}]`, strings.Repeat("x", 2000), i), 1+i)
	}
	r := start(t, store)
	slow, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer slow.Close()
	require.NoError(t, slow.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(slow, "GET /api/v1/live?metric=m&limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	good := r.live(t, "metric=m&limit=1")
	require.Eventually(t, func() bool {
		store.Inc(`["m",{},{"a":"y"}]`)
		good.next(t)
		return r.hub.dropped.Load() == 1
	}, patience, time.Millisecond)
	assert.Equal(t, 1, r.hub.subscribed())
	good.next(t)
}

// TestViewsAreShared: however many watch a view, it is worked out once for each snapshot.
func TestViewsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(func(c *Config) { c.RefreshInterval = time.Second; c.MaxSubscribers = 50 })
		s := newSampler(shop(), cfg, zap.NewNop(), func(time.Duration) {})
		h := newHub(cfg, newExecutor(cfg, s))
		_, _ = s.once(t.Context())
		handler := newHandler(cfg, h.executor, h, nil, nil)
		ask := func(limit int) *totalsQuery {
			q, refused := handler.parseTotalsQuery(map[string][]string{"metric": {"http.requests"}, "limit": {fmt.Sprint(limit)}})
			require.Nil(t, refused)
			return q
		}
		var running sync.WaitGroup
		running.Go(func() { h.run(t.Context()) })
		var all []*subscriber
		for i := range 50 {
			all = append(all, h.subscribe(ask(1+i%2), nil))
		}
		assert.Nil(t, h.subscribe(ask(1), nil), "the 51st")
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		var texts [2][]byte
		for i, one := range all {
			text := <-one.events
			if texts[i%2] == nil {
				texts[i%2] = text
			}
			assert.Same(t, &texts[i%2][0], &text[0], "made once")
		}
		assert.NotEqual(t, texts[0], texts[1])
		assert.Len(t, h.watched(), 2)
		time.Sleep(maxPending * time.Second)
		synctest.Wait()
		assert.Len(t, all[0].events, maxPending, "status alone")
		assert.Zero(t, h.dropped.Load())
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, int64(50), h.dropped.Load(), "nobody has read")
		assert.Zero(t, h.subscribed())
		h.close()
		h.close()
		assert.Nil(t, h.subscribe(ask(1), nil), "closed")
	})
}

// TestLateSubscribers: who comes with older totals than the others of a view gets the newest, though there is no other
// snapshot.
func TestLateSubscribers(t *testing.T) {
	cfg := testConfig()
	s := newSampler(shop(), cfg, zap.NewNop(), func(time.Duration) {})
	h := newHub(cfg, newExecutor(cfg, s))
	_, _ = s.once(t.Context())
	q, refused := newHandler(cfg, h.executor, h, nil, nil).parseTotalsQuery(url.Values{"metric": {"http.requests"}})
	require.Nil(t, refused)
	old := s.newest.Load().Snapshot
	_, _ = s.once(t.Context())
	first := h.subscribe(q, s.newest.Load().Snapshot)
	late := h.subscribe(q, old)
	for _, want := range []string{"totals", "status"} {
		h.refresh(t.Context())
		assert.Contains(t, string(<-first.events), "event: status\n")
		assert.Contains(t, string(<-late.events), "event: "+want+"\n")
	}
}

// TestShutdownEndsStreams: nobody who watches keeps the Collector from ending.
func TestShutdownEndsStreams(t *testing.T) {
	r := start(t, shop())
	e := r.live(t, url.Values{"metric": {"http.requests"}}.Encode())
	e.next(t)
	require.NoError(t, r.Shutdown(t.Context()))
	_, err := io.Copy(io.Discard, e.response.Body)
	assert.NoError(t, err)
	require.NoError(t, r.Shutdown(t.Context()))
}
