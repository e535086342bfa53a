// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
)

// TestFault_next_lost_answers: the Collector's answers get lost on the way, and clients send again what was accepted.
// Each time the next consumer accepts is counted: nobody can tell without an identity in the records.
func TestFault_next_lost_answers(t *testing.T) {
	seed := evidence.Seed(t)
	r := newRig(t)
	c := startCollector(t, "", r.config())
	proxy := faultproxy.Start(t, fmt.Sprintf("127.0.0.1:%d", r.in), seed)
	proxy.DropReplies(0.3)
	ledgers := newLedgers(4)
	stop := clients(t, proxy.Port(), ledgers, 0)
	waitFor(t, "enough lost answers", func() bool { return proxy.Dropped() > int64(evidence.Rounds(100, 1000)) })
	stop()
	require.Zero(t, c.terminate(t))
	counts := requireExact(t, r, ledgers)
	var acknowledged, attempted int64
	for _, l := range ledgers {
		acknowledged += l.acknowledged.Load()
		attempted += l.attempted.Load()
	}
	require.Equal(t, attempted, counts, "the request of each lost answer had arrived")
	evidence.Report(t, evidence.Figure{
		Rows: []int{3}, Claim: "answers to the client get lost, and it sends again: counted = accepted, both times", Seed: seed,
		Rounds: int(attempted / batchSize), Unit: "batches", Fired: int(proxy.Dropped()), Counts: counts,
		Note: fmt.Sprintf("%d records were acknowledged", acknowledged),
	})
}

// TestFault_resource_descriptors: connections take all the file descriptors that the Collector may have. What is
// accepted meanwhile, and after, is counted and kept.
func TestFault_resource_descriptors(t *testing.T) {
	r := newRig(t)
	c := startUnder(t, []string{"prlimit", "--nofile=64"}, "", r.config())
	ledgers := newLedgers(2)
	stop := clients(t, r.in, ledgers, time.Millisecond)
	var hogs []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.in))
		if err != nil {
			break
		}
		hogs = append(hogs, conn)
	}
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
		require.NoError(t, err)
		return len(entries)
	}
	waitFor(t, "no descriptor to be left", func() bool { return descriptors() >= 64 })
	time.Sleep(time.Second) // a few flushes
	for _, conn := range hogs {
		require.NoError(t, conn.Close())
	}
	before := ledgers[0].acknowledged.Load()
	waitFor(t, "logs to pass again", func() bool { return ledgers[0].acknowledged.Load() > before })
	require.Zero(t, c.terminate(t))
	stop()
	evidence.Report(t, evidence.Figure{
		Rows: []int{35}, Claim: "no file descriptors are left for a second: counted = accepted, and it recovers", Rounds: 1, Fired: len(hogs),
		Counts: requireExact(t, r, ledgers), Note: "all of 64 descriptors in use",
	})
}

// TestFault_resource_one_cpu gives the Collector one CPU and one thread for Go.
func TestFault_resource_one_cpu(t *testing.T) {
	r := newRig(t)
	c := startUnder(t, []string{"env", "GOMAXPROCS=1", "taskset", "-c", "0"}, "", r.config())
	ledgers := newLedgers(8)
	stop := clients(t, r.in, ledgers, 0)
	waitFor(t, "load", func() bool { return r.next.sum() > evidence.Rounds(5000, 50_000) })
	require.Zero(t, c.terminate(t))
	stop()
	evidence.Report(t, evidence.Figure{
		Rows: []int{36}, Claim: "one CPU, GOMAXPROCS=1, eight clients: counted = accepted", Rounds: 1, Fired: 1, Counts: requireExact(t, r, ledgers),
	})
}

// TestFault_resource_stopped: the process is stopped under load, and goes on after a while. Where that was longer than
// the exporter waits for an answer, the backend has logs that the exporter says it has not: those were not accepted by
// the next consumer, and do not count.
func TestFault_resource_stopped(t *testing.T) {
	pause := time.Second
	if evidence.Long() {
		pause = time.Minute
	}
	rounds := evidence.Rounds(2, 3)
	r := newRig(t)
	r.durable = true
	c := startCollector(t, "", r.config())
	ledgers := newLedgers(4)
	stop := clients(t, r.in, ledgers, 0)
	for range rounds {
		before := r.next.sum()
		waitFor(t, "load", func() bool { return r.next.sum() > before })
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
		time.Sleep(pause)
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
	}
	before := r.next.sum()
	waitFor(t, "load", func() bool { return r.next.sum() > before })
	require.Zero(t, c.terminate(t))
	stop()
	refused := strings.Count(c.readLog(t), "Exporting failed.") * batchSize
	totals := readState(t, r.directory)
	var counts, lost, extra int64
	for _, l := range ledgers {
		counts += int64(totals[l.who])
		lost += max(0, l.acknowledged.Load()-int64(totals[l.who]))
		extra += int64(max(0, totals[l.who]-r.next.of(l.who)))
	}
	require.LessOrEqual(t, r.next.sum()-int(counts), refused, "what the backend has and is not counted was refused by the exporter")
	evidence.Report(t, evidence.Figure{
		Rows: []int{34}, Claim: fmt.Sprintf("SIGSTOP for %s under load: acknowledged <= counted = accepted by the next consumer", pause), Rounds: rounds, Unit: "stops", Fired: rounds,
		Counts: counts, Lost: lost, Extra: extra,
		Note: fmt.Sprintf("the backend has %d records whose answer the exporter did not wait for", r.next.sum()-int(counts)),
	})
}

// TestFault_resource_out_of_memory: keys without a limit, in a control group with little memory, until the kernel
// kills. With `durable` nothing that was acknowledged is missing.
func TestFault_resource_out_of_memory(t *testing.T) {
	needsRoot(t)
	group := filepath.Join("/sys/fs/cgroup/memory", "tally-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("it needs a memory control group, version 1: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	require.NoError(t, os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("72M"), 0o600))
	r := newRig(t)
	r.durable, r.flush = true, time.Hour
	config := strings.Replace(r.config(), fmt.Sprintf("{attributes: [{key: %s}]}", sender), fmt.Sprintf("{attributes: [{key: %s}], cardinality_limit: 0}", sender), 1)
	c := startUnder(t, []string{"sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group}, "", config)
	var acknowledged []string
	for n := 0; !c.hasExited(); n++ {
		who := names(manySenders(200), n)
		if body := marshal(t, logsWith(sender, who)); post(r.in, body) {
			acknowledged = append(acknowledged, who...)
		}
		require.Less(t, n, 10_000, "the kernel has not killed it")
	}
	status := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, status.Signaled())
	require.Equal(t, syscall.SIGKILL, status.Signal())
	totals := readState(t, r.directory)
	lost, extra := int64(0), int64(0)
	for _, who := range acknowledged {
		lost += int64(max(0, 1-totals[who]))
		extra += int64(max(0, totals[who]-r.next.of(who)))
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{33}, Claim: "`durable`: the kernel kills for want of memory (72 MB): what was acknowledged is there", Rounds: 1, Unit: "kills", Fired: 1,
		Counts: int64(len(acknowledged)), Lost: lost, Extra: extra, Note: fmt.Sprintf("%d keys at the kill", len(totals)),
	})
}
