// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/needs"
)

const flushErrors = "otelcol_extension_tally_memory_flush_errors"

// needsRoot skips a test that mounts, or takes rights away.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("it mounts file systems or gives up rights, which takes root")
	}
}

// smallDisk returns a command that runs another on a file system of its own, of some MB, in a folder.
func smallDisk(directory string, mb int) []string {
	return []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf(`mount -t tmpfs -o size=%dm tmpfs %q && cp -a %q/. %q && exec "$@"`,
		mb, directory, directory+".old", directory), "sh"}
}

// fullDisk is smallDisk without any room.
func fullDisk(directory string, mb int) []string {
	command := smallDisk(directory, mb)
	command[4] = strings.Replace(command[4], "&& exec", fmt.Sprintf("&& { cat /dev/zero > %q 2> /dev/null || true; } && exec", directory+"/filler"), 1)
	return command
}

// seen returns a folder as a Collector sees it.
func (c *collector) seen(directory string) string {
	return fmt.Sprintf("/proc/%d/root%s", c.cmd.Process.Pid, directory)
}

// copyState copies the files of a folder, while nobody writes to them, to where they can be read.
func copyState(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// fill takes all that is left of a file system, and returns what gives it back.
func fill(t *testing.T, directory string) (free func()) {
	t.Helper()
	path := filepath.Join(directory, "filler")
	file, err := os.Create(path)
	require.NoError(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	require.ErrorContains(t, err, "no space left")
	require.NoError(t, file.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

// manySenders returns clients whose names take room.
func manySenders(n int) []*ledger {
	ledgers := newLedgers(n)
	for _, l := range ledgers {
		l.who += strings.Repeat("x", 200)
	}
	return ledgers
}

// TestFault_storage_disk_full: the disk is full under load. Counting goes on in memory, the failure is told, and when
// there is room again all of it is written.
func TestFault_storage_disk_full(t *testing.T) {
	needsRoot(t)
	r := newRig(t)
	require.NoError(t, os.Mkdir(r.directory+".old", 0o700))
	c := startUnder(t, smallDisk(r.directory, 2), "", r.config())
	ledgers := newLedgers(4)
	stop := clients(t, r.in, ledgers, time.Millisecond)
	waitFor(t, "counts on disk", func() bool { return c.scrape(t).of("otelcol_extension_tally_memory_flushes").sum() > 0 })
	free := fill(t, c.seen(r.directory))
	late := manySenders(100) // so that the state grows
	for n := range 20 {
		send(t, r.in, logsWith(sender, names(late, n)))
	}
	failures := 0
	waitFor(t, "the storage to fail a few times", func() bool {
		failures = c.scrape(t).of(flushErrors).sum()
		return failures > 3
	})
	during := r.next.sum()
	waitFor(t, "more logs to pass meanwhile", func() bool { return r.next.sum() > during })
	free()
	stop()
	waitFor(t, "the storage to be well", func() bool {
		return strings.Contains(c.readLog(t), "Writing to the storage works again")
	})
	waitFor(t, "the last flush", func() bool {
		return sumOfTotals(readState(t, copyState(t, c.seen(r.directory)))) == r.next.sum()
	})
	require.Zero(t, c.terminate(t))
	evidence.Report(t, evidence.Figure{
		Rows: []int{37}, Claim: "the disk is full under load: logs pass, and all their counts are written when there is room",
		Rounds: 1, Fired: failures, Counts: int64(r.next.sum()),
		Note: fmt.Sprintf("%d records passed while the disk was full or after", r.next.sum()-during),
	})
}

// names returns the names of the clients, with a number behind them.
func names(ledgers []*ledger, n int) []string {
	var list []string
	for _, l := range ledgers {
		list = append(list, fmt.Sprintf("%s-%d", l.who, n))
	}
	return list
}

// TestFault_storage_disk_full_at_start: there is no room when the Collector starts. Over a state it starts, and counts
// on from it; where the file cannot even be made it says so and ends.
func TestFault_storage_disk_full_at_start(t *testing.T) {
	needsRoot(t)
	fired := 0
	t.Run("without a state", func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, os.Mkdir(r.directory+".old", 0o700))
		c := launchUnder(t, fullDisk(r.directory, 1), "", r.config())
		waitFor(t, "the Collector to end", c.hasExited)
		require.NotZero(t, c.cmd.ProcessState.ExitCode())
		log := c.readLog(t)
		require.Contains(t, log, "start tally_memory: `storage` is \"file_storage\": open client")
		require.Contains(t, log, "no space left on device")
		fired++
	})
	for _, compaction := range []bool{false, true} {
		t.Run(fmt.Sprintf("over a state, compaction %t", compaction), func(t *testing.T) {
			r := newRig(t)
			first := startCollector(t, "", r.config())
			for n := range 20 {
				send(t, r.in, logsWith(sender, names(manySenders(50), n)))
			}
			require.Zero(t, first.terminate(t))
			want := readState(t, r.directory)
			require.Equal(t, r.next.sum(), sumOfTotals(want))

			require.NoError(t, os.CopyFS(r.directory+".old", os.DirFS(r.directory)))
			if compaction {
				r.storage = fmt.Sprintf(", compaction: {on_start: true, directory: %q}", r.directory)
			}
			c := startUnder(t, fullDisk(r.directory, 8), "", r.config())
			if compaction {
				require.Contains(t, c.readLog(t), "compaction on start failed")
			}
			failures, more := 0, 1000
			waitFor(t, "a failure", func() bool {
				more++
				send(t, r.in, logsWith(sender, names(manySenders(50), more)))
				failures = c.scrape(t).of(flushErrors).sum()
				return failures > 0
			})
			require.NoError(t, os.Remove(filepath.Join(c.seen(r.directory), "filler")))
			waitFor(t, "the flush after it", func() bool {
				return sumOfTotals(readState(t, copyState(t, c.seen(r.directory)))) == r.next.sum()
			})
			require.Zero(t, c.terminate(t))
			fired += failures
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{38}, Claim: "the disk is full at start, or at the compaction of it: a clear error, or all totals and no loss",
		Rounds: 3, Fired: fired,
	})
}

// TestFault_storage_eio: writes, or syncs, of the file fail. Nothing is acknowledged on the strength of a write that
// failed, and what was acknowledged is in the file.
func TestFault_storage_eio(t *testing.T) {
	for _, call := range []string{"pwrite64", "fdatasync"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t)
			r.durable, r.fsync, r.flush = true, true, time.Hour
			// From the 20th call on, 30 of them fail; those of Start are before that.
			strace := []string{
				needs.Program(t, "strace"), "-D", "-f", "-qq", "--seccomp-bpf", "-o", filepath.Join(t.TempDir(), "strace"),
				"-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=EIO:when=20..50", call),
			}
			c := startUnder(t, strace, "", r.config())
			ledgers := newLedgers(4)
			stop := clients(t, r.in, ledgers, time.Millisecond)
			failures := 0
			waitFor(t, "the storage to fail, and to be well again", func() bool {
				failures = c.scrape(t).of(flushErrors).sum()
				return failures > 0 && strings.Contains(c.readLog(t), "Writing to the storage works again")
			})
			require.Contains(t, c.readLog(t), "input/output error")
			healed := ledgers[0].acknowledged.Load()
			waitFor(t, "acknowledgements after it", func() bool { return ledgers[0].acknowledged.Load() > healed })
			require.NoError(t, c.cmd.Process.Kill())
			<-c.exited
			stop()
			totals := readState(t, r.directory)
			var counts, lost, extra int64
			for _, l := range ledgers {
				total := int64(totals[l.who])
				counts += l.acknowledged.Load()
				lost += max(0, l.acknowledged.Load()-total)
				extra += max(0, total-int64(r.next.of(l.who)))
			}
			evidence.Report(t, evidence.Figure{
				Rows: []int{39}, Claim: "`durable`: " + call + " fails with EIO for a while, then SIGKILL: acknowledged <= counted <= accepted",
				Rounds: 1, Fired: failures, Counts: counts, Lost: lost, Extra: extra,
			})
		})
	}
}

// TestFault_storage_locked: two Collectors, one file. The second says so and ends, the first does not notice.
func TestFault_storage_locked(t *testing.T) {
	r := newRig(t)
	c := startCollector(t, "", r.config())
	send(t, r.in, logsWith(sender, []string{"a"}))
	other := *r
	other.in = freePort(t)
	second := launchCollector(t, "", other.config())
	waitFor(t, "the second to end", second.hasExited)
	require.NotZero(t, second.cmd.ProcessState.ExitCode())
	require.Contains(t, second.readLog(t), "start tally_memory: `storage` is \"file_storage\": open client")
	send(t, r.in, logsWith(sender, []string{"a"}))
	require.Zero(t, c.terminate(t))
	require.Equal(t, map[string]int{"a": 2}, readState(t, r.directory))
	evidence.Report(t, evidence.Figure{Rows: []int{45}, Claim: "the file is locked by another Collector: a start error that names the storage, and no harm to the other", Rounds: 1, Fired: 1, Counts: 2})
}

// TestFault_storage_not_writable: the folder is mounted read-only, or not permitted, or not there.
func TestFault_storage_not_writable(t *testing.T) {
	needsRoot(t)
	for name, tt := range map[string]struct {
		under func(directory string) []string
		want  string
	}{
		"read-only": {func(directory string) []string {
			return []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf(`mount --bind %q %q && mount -o remount,bind,ro %q && exec "$@"`, directory, directory, directory), "sh"}
		}, "read-only file system"},
		"no permission": {func(directory string) []string {
			assert.NoError(t, os.Chmod(directory, 0o500))
			return []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}
		}, "permission denied"},
		"not there": {func(directory string) []string {
			assert.NoError(t, os.RemoveAll(directory))
			return nil
		}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := launchUnder(t, tt.under(r.directory), "", r.config())
			waitFor(t, "the Collector to end", c.hasExited)
			require.NotZero(t, c.cmd.ProcessState.ExitCode())
			require.Contains(t, c.readLog(t), tt.want)
			require.Contains(t, c.readLog(t), r.directory)
			evidence.Report(t, evidence.Figure{Rows: []int{45}, Claim: "the folder of the storage, " + name + ": a start error that names it", Rounds: 1, Fired: 1})
		})
	}
}

// TestFault_storage_renamed: under another id an extension begins a state of its own, and finds its old one under the
// old id.
func TestFault_storage_renamed(t *testing.T) {
	r := newRig(t)
	lives := []struct {
		id   string
		want int
	}{{"tally_memory", 3}, {"tally_memory/new", 3}, {"tally_memory", 6}}
	for _, life := range lives {
		config := strings.ReplaceAll(r.config(), "tally_memory", life.id)
		out := freePort(t)
		config = strings.Replace(config, "exporters:\n", fmt.Sprintf("exporters:\n  prometheus: {endpoint: 127.0.0.1:%d}\n", out), 1)
		config = strings.Replace(config, "receivers:\n", fmt.Sprintf("receivers:\n  tally: {store: %s, collection_interval: 50ms, initial_delay: 1ms}\n", life.id), 1)
		config += "    metrics: {receivers: [tally], exporters: [prometheus]}\n"
		c := startCollector(t, "", config)
		send(t, r.in, logsWith(sender, repeated("a", 3)))
		shown := collector{metricsPort: out}
		waitFor(t, "the total", func() bool { return shown.scrape(t).of("all_total").sum() == life.want })
		require.Zero(t, c.terminate(t))
	}
	require.Equal(t, map[string]int{"a": 6}, readState(t, r.directory))
	evidence.Report(t, evidence.Figure{Rows: []int{46}, Claim: "a store that is renamed begins anew, and goes on under its old name", Rounds: len(lives), Fired: 2, Counts: 9})
}
