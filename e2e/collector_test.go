// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	patience = 30 * time.Second // for whatever must happen at all
	tick     = 50 * time.Millisecond

	ready = "Everything is ready. Begin running and processing data." // what a Collector logs when all receivers listen
)

// collector is a running otelcol-tally.
type collector struct {
	cmd         *exec.Cmd
	metricsPort int
	log         string        // path of what it writes to stderr
	exited      chan struct{} // closed when it has ended
	readyAt     time.Time     // zero for one that nobody has waited for
}

// startCollector returns a Collector that is ready; it ends with the test at the latest, and when the test has failed
// its log is shown. Each config is a path or the text of a YAML file. Its readers are replaced by one for scraping and
// the ones given.
func startCollector(t *testing.T, readers string, configs ...string) *collector {
	t.Helper()
	return startUnder(t, nil, readers, configs...)
}

// launchCollector is startCollector for who does not want to wait.
func launchCollector(t *testing.T, readers string, configs ...string) *collector {
	t.Helper()
	return launchUnder(t, nil, readers, configs...)
}

// startUnder starts a Collector as the last words of another command, which becomes it in the end.
func startUnder(t *testing.T, command []string, readers string, configs ...string) *collector {
	t.Helper()
	c := launchUnder(t, command, readers, configs...)
	waitFor(t, "the Collector to be ready", func() bool { return c.hasExited() || c.isReady(t) })
	require.False(t, c.hasExited(), "the Collector has ended at once")
	c.readyAt = time.Now()
	return c
}

// signal sends a signal that a Collector deals with. It says that it is ready a moment before it does: until then
// SIGTERM and SIGHUP end it as they end any process, and nothing is flushed.
func (c *collector) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	const moment = 300 * time.Millisecond
	time.Sleep(time.Until(c.readyAt.Add(moment)))
	if time.Since(c.readyAt) < time.Second {
		for range 3 { // where others take the CPU, a moment is not enough: it has to have answered a few times
			_, _ = c.page()
		}
	}
	require.NoError(t, c.cmd.Process.Signal(signal))
}

// launchUnder is startUnder for who does not want to wait.
func launchUnder(t *testing.T, command []string, readers string, configs ...string) *collector {
	t.Helper()
	c := &collector{metricsPort: freePort(t), log: filepath.Join(t.TempDir(), "stderr"), exited: make(chan struct{})}
	words := slices.Concat(command, []string{collectorPath}, arguments(t, append(configs, c.telemetry(readers))))
	c.cmd = exec.Command(words[0], words[1:]...)
	c.cmd.Dir = root
	stderr, err := os.Create(c.log)
	require.NoError(t, err)
	defer stderr.Close()
	c.cmd.Stderr = stderr
	require.NoError(t, c.cmd.Start())
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.exited
		if t.Failed() {
			t.Logf("log of the Collector:\n%s", c.readLog(t))
		}
	})
	return c
}

// isReady says whether all receivers listen.
func (c *collector) isReady(t *testing.T) bool { return strings.Contains(c.readLog(t), ready) }

// arguments returns a --config for each config, which is a path or the text of a YAML file; what begins with -- is an
// argument already.
func arguments(t *testing.T, configs []string) []string {
	t.Helper()
	dir := t.TempDir()
	var args []string
	for i, config := range configs {
		if strings.HasPrefix(config, "--") {
			args = append(args, config)
			continue
		}
		if strings.Contains(config, "\n") {
			path := filepath.Join(dir, fmt.Sprintf("config%d.yaml", i))
			require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
			config = path
		}
		args = append(args, "--config", config)
	}
	return args
}

func (c *collector) telemetry(readers string) string {
	return fmt.Sprintf(`
service:
  telemetry:
    logs: {level: info}
    metrics:
      readers:
        - pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d, without_scope_info: true, without_units: true, without_type_suffix: true}}}
%s`, c.metricsPort, readers)
}

// terminate sends SIGTERM and returns the exit code when the Collector has ended.
func (c *collector) terminate(t *testing.T) int {
	t.Helper()
	c.signal(t, syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(patience):
		require.Fail(t, "the Collector does not end")
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *collector) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

func (c *collector) readLog(t *testing.T) string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// waitFor asks in the test's own goroutine, unlike require.Eventually, so that what it asks may end the test.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(tick) {
		require.Truef(t, time.Now().Before(deadline), "waited for %s in vain", what)
	}
}

// freePort returns a port of the loopback interface that was free just now. It is below those that the system gives to
// connections (ip_local_port_range), which might take it before its server does.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 24_000 + rand.IntN(8_000)
		if _, taken := portsGiven.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	require.Fail(t, "no free port")
	return 0
}

// portsGiven are those that freePort has returned.
var portsGiven sync.Map

// command returns the output of a program that is run in the project's root and must succeed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%s: %s", cmd, &stderr)
	return string(out)
}

// telemetrygen returns the arguments that make telemetrygen send log records at full speed.
func telemetrygen(grpcPort int, args ...string) []string {
	return append([]string{
		"logs", "--otlp-insecure", "--otlp-endpoint", fmt.Sprintf("127.0.0.1:%d", grpcPort), "--rate", "0",
	}, args...)
}
