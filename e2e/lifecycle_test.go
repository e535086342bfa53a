// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// requireExact wants that what is left in the store is what the next consumer has accepted, and no less than what was
// acknowledged. The Collector must have ended, and not by a kill.
func requireExact(t *testing.T, r *rig, ledgers []*ledger) (counts int64) {
	t.Helper()
	totals := readState(t, r.directory)
	for _, l := range ledgers {
		require.Equal(t, r.next.of(l.who), totals[l.who], "%s: counted = accepted by the next consumer", l.who)
		require.GreaterOrEqual(t, int64(totals[l.who]), l.acknowledged.Load(), "%s", l.who)
		counts += int64(totals[l.who])
	}
	return counts
}

// TestFault_lifecycle_sigterm ends a Collector under load, again and again: received and forwarded is counted.
func TestFault_lifecycle_sigterm(t *testing.T) {
	rounds, seed := evidence.Rounds(5, 1000), evidence.Seed(t)
	random := evidence.Random(seed)
	r := newRig(t)
	ledgers := newLedgers(4)
	var counts int64
	for range rounds {
		c := startCollector(t, "", r.config())
		stop := clients(t, r.in, ledgers, 0)
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		require.Zero(t, c.terminate(t))
		stop()
		counts = requireExact(t, r, ledgers)
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{29}, Claim: "SIGTERM under load: counted = accepted by the next consumer, for each sender", Unit: "SIGTERMs",
		Seed: seed, Rounds: rounds, Fired: rounds, Counts: counts,
	})
}

// TestFault_lifecycle_second_signal sends a second signal while the first is dealt with. The Collector may then end at
// once; with `durable` nothing is lost by that.
func TestFault_lifecycle_second_signal(t *testing.T) {
	rounds := evidence.Rounds(4, 300)
	r := newRig(t)
	r.durable, r.flush = true, time.Hour
	ledgers := newLedgers(4)
	var counts, lost, extra int64
	for round := range rounds {
		c := startCollector(t, "", r.config())
		stop := clients(t, r.in, ledgers, 0)
		time.Sleep(50 * time.Millisecond)
		second := []os.Signal{syscall.SIGTERM, os.Interrupt}[round%2]
		c.signal(t, syscall.SIGTERM)
		time.Sleep(time.Duration(round%3*5) * time.Millisecond)
		_ = c.cmd.Process.Signal(second) // it may have ended
		waitFor(t, "the Collector to end", c.hasExited)
		stop()
		totals := readState(t, r.directory)
		counts = 0
		for _, l := range ledgers {
			counts += int64(totals[l.who])
			lost += max(0, l.acknowledged.Load()-int64(totals[l.who]))
			extra += max(0, int64(totals[l.who]-r.next.of(l.who)))
		}
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{30}, Claim: "a second SIGTERM or SIGINT within 10 ms: acknowledged <= counted <= accepted, and the state is whole",
		Rounds: rounds, Fired: rounds, Counts: counts, Lost: lost, Extra: extra,
	})
}

// TestFault_lifecycle_reload reloads the configuration under load, again and again, with changed limits.
func TestFault_lifecycle_reload(t *testing.T) {
	for _, gate := range []string{"", "service.partialReload"} {
		name := gate
		if gate == "" {
			name = "whole"
		}
		t.Run(name, func(t *testing.T) {
			rounds := evidence.Rounds(6, 500)
			pause := time.Second
			if !evidence.Long() {
				pause = 300 * time.Millisecond
			}
			r := newRig(t)
			path := filepath.Join(t.TempDir(), "config.yaml")
			write := func(n int) {
				r.settings = fmt.Sprintf("    queue: {queue_size: %d, num_consumers: %d}\n    key_length_limit: %d", 1+n%5, 1+n%3, 1000+n)
				require.NoError(t, os.WriteFile(path+".new", []byte(r.config()), 0o600))
				// at once: a reload that takes long may read it meanwhile
				require.NoError(t, os.Rename(path+".new", path))
			}
			write(0)
			args := []string{path}
			if gate != "" {
				args = append(args, "--feature-gates="+gate)
			}
			c := startCollector(t, "", args...)
			ledgers := newLedgers(4)
			stop := clients(t, r.in, ledgers, time.Millisecond)
			for n := range rounds {
				write(n + 1 - n%2) // each second one changes nothing
				before := r.next.sum()
				c.signal(t, syscall.SIGHUP)
				time.Sleep(pause)
				waitFor(t, "logs to pass again", func() bool { return r.next.sum() > before })
				require.False(t, c.hasExited())
			}
			require.Zero(t, c.terminate(t))
			stop()
			counts := requireExact(t, r, ledgers)
			reloads := strings.Count(c.readLog(t), "\"signal\": \"hangup\"")
			rows := []int{61}
			if gate != "" {
				rows = []int{63}
			}
			evidence.Report(t, evidence.Figure{
				Rows: rows, Claim: "SIGHUP under load, with changed limits or none (" + name + " reload): counted = accepted by the next consumer",
				Rounds: rounds, Unit: "SIGHUPs", Fired: reloads, Counts: counts,
			})
		})
	}
}

// TestFault_lifecycle_reload_broken reloads a configuration that is broken: whatever the Collector does, nothing is
// lost.
func TestFault_lifecycle_reload_broken(t *testing.T) {
	broken := map[string]func(config string) string{
		"no YAML": func(string) string { return "processors: [tally\n\n" },
		"a mistake": func(c string) string {
			return strings.Replace(c, "durable: false", "durable: false\n    queue: {queue_size: -1}", 1)
		},
		"no store": func(c string) string { return strings.Replace(c, "store: tally_memory", "store: tally_memory/none", 1) },
	}
	fired := 0
	var counts int64
	for name, brk := range broken {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			path := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(path, []byte(r.config()), 0o600))
			c := startCollector(t, "", path)
			ledgers := newLedgers(2)
			stop := clients(t, r.in, ledgers, time.Millisecond)
			waitFor(t, "logs to pass", func() bool { return r.next.sum() > 0 })
			require.NoError(t, os.WriteFile(path, []byte(brk(r.config())), 0o600))
			c.signal(t, syscall.SIGHUP)
			waitFor(t, "the Collector to notice", func() bool { return c.hasExited() || strings.Contains(c.readLog(t), "onfig updated") })
			if !c.hasExited() {
				_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
				waitFor(t, "the Collector to end", c.hasExited)
			}
			stop()
			requireExact(t, r, ledgers)
			again := startCollector(t, "", r.config())
			send(t, r.in, logsWith(sender, []string{ledgers[0].who}))
			require.Zero(t, again.terminate(t))
			counts += requireExact(t, r, ledgers)
			fired++
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{62}, Claim: "SIGHUP with a broken configuration under load: the state is exact at the next start",
		Rounds: len(broken), Fired: fired, Counts: counts,
	})
}

// TestFault_lifecycle_neighbor_fails: another component does not start, after tally has.
func TestFault_lifecycle_neighbor_fails(t *testing.T) {
	r := newRig(t)
	c := startCollector(t, "", r.config())
	send(t, r.in, logsWith(sender, repeated("a", 3)))
	other := *r
	other.directory = t.TempDir() // its port is taken
	second := launchCollector(t, "", other.config())
	waitFor(t, "the second to end", second.hasExited)
	require.NotZero(t, second.cmd.ProcessState.ExitCode())
	require.Contains(t, second.readLog(t), "address already in use")
	require.NotContains(t, second.readLog(t), "panic")
	require.Zero(t, c.terminate(t))
	require.Empty(t, readState(t, other.directory))
	third := startCollector(t, "", other.config())
	send(t, r.in, logsWith(sender, repeated("a", 4)))
	require.Zero(t, third.terminate(t))
	require.Equal(t, map[string]int{"a": 4}, readState(t, other.directory), "the storage was given back")
	evidence.Report(t, evidence.Figure{Rows: []int{28}, Claim: "a neighbor fails to start: all is given back, and the next start counts on", Rounds: 1, Fired: 1, Counts: 7})
}
