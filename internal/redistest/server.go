// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package redistest starts real Redis servers for tests: alone, with replicas, under Sentinel, and as a Cluster. They
// listen on loopback, and end with their test. Where such a server is not installed the test is skipped, as package
// needs says.
package redistest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/needs"
)

// patience is how long a server may take to do what is waited for; the machines of CI are slow.
const patience = 30 * time.Second

// Server is one process. Its methods fail the test when the server does not do what it is told.
type Server struct {
	t       testing.TB
	binary  string
	dir     string
	args    []string
	port    int
	tlsPort int // 0 = it does not speak TLS
	cmd     *exec.Cmd
	front   *faultproxy.Proxy // what clients connect to instead; nil = the server itself
}

// Start starts redis-server, which keeps nothing on disk unless args say so. They follow the defaults, and are of the
// form "--name", "value".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "redis-server", freePort(t), args...)
}

// StartValkey is Start for valkey-server.
func StartValkey(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "valkey-server", freePort(t), args...)
}

func start(t testing.TB, binary string, port int, args ...string) *Server {
	t.Helper()
	needs.Program(t, "redis-cli")
	s := &Server{t: t, binary: needs.Program(t, binary), dir: t.TempDir(), args: args, port: port}
	s.moveAway()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.Addr(), s.log())
		}
		s.Kill()
	})
	s.run()
	return s
}

func (s *Server) run() {
	s.t.Helper()
	s.exec()
	s.Wait("PONG", "PING")
}

func (s *Server) exec() {
	s.t.Helper()
	args := slices.Concat([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log"),
		"--save", "", "--appendonly", "no", "--protected-mode", "no", "--repl-diskless-sync-delay", "0",
	}, s.announced(), s.args)
	s.cmd = exec.Command(s.binary, args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", s.binary, err)
	}
}

func (s *Server) log() []byte {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // there may be none yet
	return text[max(0, len(text)-600):]
}

// Addr returns the host:port for clients, which may be far away: see DistanceVariable.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.Port()) }

// Port returns the port of Addr.
func (s *Server) Port() int {
	if s.front != nil {
		return s.front.Port()
	}
	return s.port
}

// Near returns the host:port of the server itself.
func (s *Server) Near() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Kill ends the process by SIGKILL, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // and says that it was killed
	s.cmd = nil
}

// Restart starts the server again, where and as it was.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

// RestartSlowly is Restart with further args, and does not wait until the server has read what it has on disk.
func (s *Server) RestartSlowly(args ...string) {
	s.t.Helper()
	s.Kill()
	own := s.args
	s.args = append(slices.Clone(own), args...)
	s.exec()
	s.args = own
}

// Pause stops the process by SIGSTOP, and Continue lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal %s: %v", s.Addr(), err)
	}
}

// CPUTime returns what the process has used, to the hundredth of a second: Linux counts in these (USER_HZ).
func (s *Server) CPUTime() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// CLI runs redis-cli with args against the server and returns what it prints.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.TryCLI(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return out
}

// TryCLI is CLI for what may fail.
func (s *Server) TryCLI(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", append([]string{"-e", "--raw", "-p", strconv.Itoa(s.port)}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Wait runs redis-cli with args until its output has text in it.
func (s *Server) Wait(text string, args ...string) {
	s.t.Helper()
	var out string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if out, _ = s.TryCLI(args...); strings.Contains(out, text) {
			return
		}
	}
	s.t.Fatalf("%s: redis-cli %v does not say %q but %q\n%s", s.Addr(), args, text, out, s.log())
}

// Follow makes the server a replica of addr and waits until it has caught up.
func (s *Server) Follow(host string, port int) {
	s.t.Helper()
	s.CLI("REPLICAOF", host, strconv.Itoa(port))
	s.Wait("master_link_status:up", "INFO", "replication")
}

// freePort returns a port that nobody listens on, and whose Cluster bus, 10,000 above, nobody listens on either. Both
// are below those that the system gives to connections.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(4_000)
		if isFree(port) && isFree(port+10_000) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
