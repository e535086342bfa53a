// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/memory"
)

const largeKeys = 25_000

// large returns a store whose page is larger than what the buffers of a connection hold.
func large() *memory.Store {
	store := memory.New()
	for i := range largeKeys {
		store.Add(fmt.Sprintf(`["http.requests",{},{"user":"%d-%s"}]`, i, strings.Repeat("x", 300)), i+1)
	}
	return store
}

// slowClient asks for a path and then reads a few bytes at a time, with a pause between, until the connection ends.
type slowClient struct {
	net.Conn
	ended chan struct{}
}

func (r *running) slow(t testing.TB, path string, bytes int, pause time.Duration) *slowClient {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.address)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	require.NoError(t, err)
	c := &slowClient{conn, make(chan struct{})}
	go func() {
		defer close(c.ended)
		for buffer := make([]byte, bytes); ; time.Sleep(pause) {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-c.ended
	})
	return c
}

// slowClients returns clients that read as fast as chance has it, and that have all begun to.
func slowClients(t testing.TB, r *running, n int) (list []*slowClient) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for i := range n {
		path := "/metrics"
		if i%4 == 3 {
			path = "/api/v1/live?metric=http.requests&limit=1000"
		}
		list = append(list, r.slow(t, path, 1+random.IntN(200), 10*time.Millisecond+time.Duration(random.IntN(1e9))))
	}
	time.Sleep(100 * time.Millisecond) // real time: the clients are in the kernel, too
	return list
}

// frames returns how many goroutines are in a function of the package.
func frames(function string) int {
	stacks := make([]byte, 16<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "/tallyconsole."+function)
}

// However many clients read however slowly, Shutdown ends at its own deadline, or at the Collector's if that is sooner,
// and their connections end with it. It is no error: one would end a Collector that is about to reload.
func TestShutdownWithSlowClients(t *testing.T) {
	store := large()
	for _, deadline := range []time.Duration{0, 50 * time.Millisecond, time.Minute} {
		r := start(t, store, func(c *Config) { c.Server.WriteTimeout, c.MaxItems = time.Hour, 10_000 })
		clients := slowClients(t, r, 24)
		ctx, end := t.Context(), time.Now().Add(patience)
		if deadline > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, deadline)
			defer cancel()
		}
		done := make(chan error, 1)
		go func() { done <- r.Shutdown(ctx) }()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(time.Until(end)):
			for _, c := range clients {
				_ = c.Close()
			}
			require.NoError(t, <-done)
			require.Fail(t, "Shutdown waits for slow clients", "deadline %v", deadline)
		}
		assert.Eventually(t, func() bool { return frames("(*handler)") == 0 }, patience, tick, "requests outlive Shutdown")
	}
}

// A client that reads slowly has no place of those in which questions are answered, however many of them there are, and
// what they have in memory is bounded: when too many are slow at once, the one that has waited longest is ended.
func TestSlowClientsHoldNoPlace(t *testing.T) {
	r := start(t, large(), func(c *Config) { c.Server.WriteTimeout, c.QueryTimeout = time.Hour, patience })
	for range 2 * maxSlowScrapes {
		r.slow(t, "/metrics", 10, 100*time.Millisecond)
	}
	for range 5 {
		ask[totalsResponse](t, r, "/api/v1/totals?metric=http.requests&limit=1")
		code, _, page := r.get(t, "/metrics")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, largeKeys, bytes.Count(page, []byte("\nhttp_requests_total{")))
	}
	assert.Eventually(t, func() bool { return frames("(*handler).scrape") <= maxSlowScrapes }, patience, tick)
}

// While others work, a scrape waits as long as an answer may take, and is refused then.
func TestScrapeTakesAPlace(t *testing.T) {
	const timeout = 100 * time.Millisecond
	r := start(t, shop(), func(c *Config) { c.QueryTimeout = timeout })
	r.hub.executor.semaphore <- struct{}{}
	p := refused(t, r, "/metrics", http.StatusServiceUnavailable)
	assert.Contains(t, p.Error, "takes too long")
	code, _, _ := r.do(t, http.MethodHead, "/metrics", nil)
	assert.Equal(t, http.StatusOK, code, "it works on nothing")
	<-r.hub.executor.semaphore
	code, _, _ = r.get(t, "/metrics")
	assert.Equal(t, http.StatusOK, code)
	assert.Empty(t, r.hub.executor.semaphore, "given back")
}

// Scrapes by clients of any speed, which go away whenever they like, leave no place taken, and each page that is whole
// has all series.
func TestScrapesAtAnySpeed(t *testing.T) {
	r := start(t, large(), func(c *Config) { c.MaxConcurrentQueries = 2 })
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(rand.Uint64(), 1))
			response, err := http.Get(r.url + "/metrics")
			if !assert.NoError(t, err) {
				return
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return
			}
			page := &bytes.Buffer{}
			for end := random.IntN(40 << 20); page.Len() < end; {
				n, err := io.CopyN(page, response.Body, 1+random.Int64N(2<<20))
				time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
				if errors.Is(err, io.EOF) {
					assert.Equal(t, largeKeys, bytes.Count(page.Bytes(), []byte("\nhttp_requests_total{")))
					return
				} else if err != nil || n == 0 {
					return // it was ended
				}
			}
		})
	}
	clients.Wait()
	require.Eventually(t, func() bool { return len(r.hub.executor.semaphore) == 0 }, patience, tick, "all places are given back")
}
