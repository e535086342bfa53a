// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is a TCP proxy that does to a protocol of requests and replies what networks do.
package faultproxy

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards connections. Its faults can be changed at any time, by any goroutine.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup
	stopped  chan struct{}
	dropped  atomic.Int64
	sent     atomic.Int64 // bytes to the target
	answered atomic.Int64 // bytes of it

	// mu guards the fields below.
	mu     sync.Mutex
	random *rand.Rand
	target string
	drop   float64
	pieces int
	delay  time.Duration
	jitter time.Duration
	held   chan struct{} // closed when it is not held
	conns  map[net.Conn]bool
}

// Start starts a proxy to target, whose chances are those of seed.
func Start(t testing.TB, target string, seed uint64) *Proxy {
	t.Helper()
	return StartAt(t, "127.0.0.1:0", target, seed)
}

// StartAt is Start for a proxy that listens on addr.
func StartAt(t testing.TB, addr, target string, seed uint64) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", seed)
	free := make(chan struct{})
	close(free)
	p := &Proxy{
		listener: l, stopped: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 0)), target: target, held: free,
		conns: map[net.Conn]bool{},
	}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		close(p.stopped)
		_ = l.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Target makes new connections go to addr, and ends the others.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	p.target = addr
	p.mu.Unlock()
	p.Cut()
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// DropReplies makes each piece of a reply be dropped with this probability, and its connection with it: the server has
// done what it was asked, and the client does not know.
func (p *Proxy) DropReplies(probability float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = probability
}

// Dropped returns how many replies were dropped.
func (p *Proxy) Dropped() int64 { return p.dropped.Load() }

// Bytes returns how many bytes have come for the target, and how many from it.
func (p *Proxy) Bytes() (requests, replies int64) { return p.sent.Load(), p.answered.Load() }

func (p *Proxy) count(n int, reply bool) {
	if reply {
		p.answered.Add(int64(n))
	} else {
		p.sent.Add(int64(n))
	}
}

// CutIntoPieces makes replies arrive in pieces of so many bytes; 0 = as they come.
func (p *Proxy) CutIntoPieces(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pieces = bytes
}

// Delay makes each piece arrive later, in either direction, by d and up to jitter more, by chance, as if the target
// were far away: what comes meanwhile is on its way as well.
func (p *Proxy) Delay(d, jitter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.jitter = d, jitter
}

// Hold makes the proxy take connections and what comes on them, and forward nothing, until release.
func (p *Proxy) Hold() (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.add(client)
		p.add(server)
		p.running.Go(func() { p.forward(client, server, false) })
		p.running.Go(func() { p.forward(server, client, true) })
	}
}

func (p *Proxy) add(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	select {
	case <-p.stopped:
		_ = c.Close()
	default:
	}
}

// piece is what was read at once, and when it is to arrive.
type piece struct {
	data []byte
	due  time.Time
}

// onTheWay is how many pieces may be on their way in one direction of a connection: what is read while others wait
// arrives as late as they do, not later.
const onTheWay = 1024

func (p *Proxy) forward(from, to net.Conn, reply bool) {
	way := make(chan piece, onTheWay)
	var arriving sync.WaitGroup
	arriving.Go(func() { p.arrive(way, from, to, reply) })
	defer func() {
		close(way)
		arriving.Wait()
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.count(n, reply)
		way <- piece{slices.Clone(buffer[:n]), time.Now().Add(p.distance())}
	}
}

// arrive writes what is on the way, each piece when it is due, in the order in which they were read. When it ends, so
// do the connections.
func (p *Proxy) arrive(way <-chan piece, from, to net.Conn, reply bool) {
	for next := range way {
		if !p.wait(next.due) || !p.write(next.data, to, reply) {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
	for range way { // so that forward does not wait for room
	}
}

// write says whether to go on.
func (p *Proxy) write(data []byte, to net.Conn, reply bool) bool {
	pieces := len(data)
	if reply {
		var drop bool
		if drop, pieces = p.fate(len(data)); drop {
			p.dropped.Add(1)
			return false
		}
	}
	for rest := data; len(rest) > 0; rest = rest[min(pieces, len(rest)):] {
		if _, err := to.Write(rest[:min(pieces, len(rest))]); err != nil {
			return false
		}
		if pieces < len(data) {
			time.Sleep(time.Microsecond)
		}
	}
	return true
}

// distance returns how long the next piece is on its way.
func (p *Proxy) distance() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jitter == 0 {
		return p.delay
	}
	return p.delay + time.Duration(p.random.Int64N(int64(p.jitter)))
}

// wait waits until a piece is due, and while the proxy is held, and says whether to go on.
func (p *Proxy) wait(due time.Time) bool {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if d := time.Until(due); d > 0 {
		time.Sleep(d)
	}
	select {
	case <-held:
		return true
	case <-p.stopped:
		return false
	}
}

func (p *Proxy) fate(n int) (drop bool, pieces int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pieces > 0 {
		n = p.pieces
	}
	return p.random.Float64() < p.drop, n
}
