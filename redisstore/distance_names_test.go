// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/store"
)

// dns is what names under .test mean, to all of this process: so a test can move a server behind its name. It is set
// before any goroutine looks, and asks nobody else.
var dns = &zone{addrs: map[string]netip.Addr{}}

func init() { net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: dns.dial} }

// zone is a DNS server.
type zone struct {
	// mu guards the fields below.
	mu    sync.Mutex
	addrs map[string]netip.Addr // IPv4
}

func (z *zone) set(name, addr string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.addrs[name] = netip.MustParseAddr(addr)
}

func (z *zone) unset(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.addrs, name)
}

// dial returns a connection to the server: a stream, in which each message has its length before it.
func (z *zone) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		for {
			var length [2]byte
			if _, err := io.ReadFull(server, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			reply := z.answer(query)
			if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// answer returns the reply to a query, which is of the resolver of this process: one question behind the header of 12
// bytes.
func (z *zone) answer(query []byte) []byte {
	name, end := "", 12
	for query[end] != 0 {
		next := end + 1 + int(query[end])
		name += string(query[end+1:next]) + "."
		end = next
	}
	end += 5 // the end of the name, type and class
	z.mu.Lock()
	addr, known := z.addrs[name]
	z.mu.Unlock()
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	switch isA := query[end-3] == 1; {
	case !known:
		reply[3] |= 3 // no such name
	case isA:
		reply[7] = 1
		// the name of the question, A, IN, for no time, 4 bytes
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, addr.AsSlice()...)
	}
	return reply
}

// TestFault_redis_far_name: the name of the server means another one from some time on, to which its replica has
// become, as with a hosted server that fails over. Whatever becomes of the old one and of connections to it, writers
// come to the new one, and all is exact.
func TestFault_redis_far_name(t *testing.T) {
	for how, leave := range map[string]func(old, next *redistest.Server, front *faultproxy.Proxy){
		"the old one is killed": func(old, _ *redistest.Server, front *faultproxy.Proxy) { old.Kill(); front.Cut() },
		"its connections end":   func(_, _ *redistest.Server, front *faultproxy.Proxy) { front.Cut() },
		"it becomes a replica, and keeps its connections": func(old, next *redistest.Server, _ *faultproxy.Proxy) {
			old.Follow("127.0.0.1", next.Port())
		},
	} {
		t.Run(how, func(t *testing.T) { testNameMoves(t, how, leave) })
	}
}

func testNameMoves(t *testing.T, how string, leave func(old, next *redistest.Server, front *faultproxy.Proxy)) {
	t.Cleanup(awaitLibrary)
	old, next := redistest.Start(t), redistest.Start(t)
	next.Follow("127.0.0.1", old.Port())
	front := away(t, old.Near(), distance)
	back := faultproxy.StartAt(t, fmt.Sprintf("127.0.0.2:%d", front.Port()), next.Near(), evidence.Seed(t))
	back.Delay(distance, distance/2)
	dns.set("totals.test.", "127.0.0.1")

	cfg := testConfig(fmt.Sprintf("totals.test:%d", front.Port()))
	a, b := open(t, cfg).store, open(t, cfg).store
	l := startLoad(t, open(t, cfg).store, false)
	l.count(a)
	l.count(b)
	l.running.Go(func() { // so that there are always descriptions to send
		for l.ctx.Err() == nil {
			a.Describe(store.Description{Metric: "m", Description: newToken()})
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(300 * time.Millisecond)
	next.CLI("REPLICAOF", "NO", "ONE")
	dns.set("totals.test.", "127.0.0.2")
	leave(old, next, front)
	time.Sleep(300 * time.Millisecond)
	l.settle(a, b)
	got, err := sumOf(t.Context(), open(t, testConfig(next.Near())).store)
	require.NoError(t, err)
	want := l.bounds.Summary().Attempted
	assert.Equal(t, want, got, "on the new one")
	moved, _ := back.Bytes()
	evidence.Report(t, evidence.Figure{
		Rows: []int{52}, Claim: "the server's name moves to its replica, " + how + ": exact", Rounds: 1, Counts: want, Note: l.bounds.Summary().String(),
		Fired: int(min(1, moved)),
	})
}

// A name that means nothing for a while is told as such, also to a writer whose connection has ended before, and is
// looked up again.
func TestFault_redis_far_name_unknown(t *testing.T) {
	t.Cleanup(awaitLibrary)
	server := redistest.Start(t)
	proxy := away(t, server.Near(), distance)
	dns.set("gone.test.", "127.0.0.1")
	e, lines, host := openWatched(t, testConfig(fmt.Sprintf("gone.test:%d", proxy.Port())))
	l := startLoad(t, open(t, testConfig(server.Near())).store, false)
	l.count(e.store)
	rounds := evidence.Rounds(2, 20)
	for range rounds {
		time.Sleep(100 * time.Millisecond)
		dns.unset("gone.test.")
		proxy.Cut()
		awaitError(t, host, "no such host")
		dns.set("gone.test.", "127.0.0.1")
		awaitOK(t, host)
	}
	assertTold(t, lines, "does not take the counts", "class:dns", "no such host")
	l.settle(e.store)
	evidence.Report(t, evidence.Figure{
		Rows: []int{49}, Claim: "the server's name has no address for a while: told, exact", Rounds: rounds,
		Fired:  int(e.store.writer.numbers.copy(e.store.writer.numbers.failures)["dns"]),
		Counts: l.bounds.Summary().Attempted, Note: l.bounds.Summary().String(),
	})
}
