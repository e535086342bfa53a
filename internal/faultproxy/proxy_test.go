// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// ask sends a line by a new connection and returns what comes back.
func ask(t *testing.T, p *Proxy, deadline time.Duration) (string, error) {
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(deadline)))
	_, err = c.Write([]byte("hello\n"))
	require.NoError(t, err)
	return bufio.NewReader(c).ReadString('\n')
}

func TestFaults(t *testing.T) {
	p := Start(t, echo(t), 1)
	line, err := ask(t, p, time.Second)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", line)

	p.CutIntoPieces(1)
	line, err = ask(t, p, time.Second)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", line)

	p.DropReplies(0.5)
	failed := 0
	for range 50 {
		if _, err := ask(t, p, time.Second); err != nil {
			failed++
		}
	}
	assert.EqualValues(t, failed, p.Dropped())
	assert.InDelta(t, 25, failed, 20)
	p.DropReplies(0)

	release := p.Hold()
	_, err = ask(t, p, 50*time.Millisecond)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	release()
	_, err = ask(t, p, time.Second)
	require.NoError(t, err)

	p.Delay(20*time.Millisecond, 10*time.Millisecond)
	before := time.Now()
	_, err = ask(t, p, time.Second)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(before), 40*time.Millisecond, "in both directions")
	p.Delay(0, 0)

	p.Target("127.0.0.1:1")
	_, err = ask(t, p, time.Second)
	require.Error(t, err, "nobody is there")
}

// What is sent while other pieces are on their way does not wait for them: so distance is not bandwidth. It arrives in
// order, and all of it is counted.
func TestDistance(t *testing.T) {
	const size, delay = 4 << 20, 50 * time.Millisecond
	p := Start(t, echo(t), 1)
	p.Delay(delay, delay/4)
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i / 1000)
	}
	began := time.Now()
	go func() { _, _ = c.Write(want) }()
	got := make([]byte, size)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(began), 2*delay)
	assert.Less(t, time.Since(began), size/(64<<10)*delay, "a piece after the other takes that long in one direction")
	assert.Equal(t, want, got)
	requests, replies := p.Bytes()
	assert.Equal(t, []int64{size, size}, []int64{requests, replies})
}
