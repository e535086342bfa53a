// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is a TCP proxy that does to a protocol of requests and replies what networks do.
package faultproxy

import (
	"math/rand/v2"
	"net"
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
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

// DropReplies makes each piece of a reply be dropped with this probability, and its connection with it: the server has done
// what it was asked, and the client does not know.
func (p *Proxy) DropReplies(probability float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = probability
}

// Dropped returns how many replies were dropped.
func (p *Proxy) Dropped() int64 { return p.dropped.Load() }

// CutIntoPieces makes replies arrive in pieces of so many bytes; 0 = as they come.
func (p *Proxy) CutIntoPieces(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pieces = bytes
}

// Delay makes each piece wait before it is forwarded, in either direction, for d and up to jitter more, by chance: as a server does
// that is far away.
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

func (p *Proxy) forward(from, to net.Conn, reply bool) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !p.wait() {
			return
		}
		pieces := n
		if reply {
			var drop bool
			if drop, pieces = p.fate(n); drop {
				p.dropped.Add(1)
				return
			}
		}
		for rest := buffer[:n]; len(rest) > 0; rest = rest[min(pieces, len(rest)):] {
			if _, err := to.Write(rest[:min(pieces, len(rest))]); err != nil {
				return
			}
			if pieces < n {
				time.Sleep(time.Microsecond)
			}
		}
	}
}

// wait waits for the delay, and while the proxy is held, and says whether to go on.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	held, delay := p.held, p.delay
	if p.jitter > 0 {
		delay += time.Duration(p.random.Int64N(int64(p.jitter)))
	}
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
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
