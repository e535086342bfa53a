// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// kills returns how many cycles a test of SIGKILL has; the variable TALLY_TEST_KILLS sets another number.
func kills(t *testing.T, short, long int) int {
	t.Helper()
	text := os.Getenv("TALLY_TEST_KILLS")
	if text == "" {
		return evidence.Rounds(short, long)
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// killCycles runs a Collector under the load of four clients and kills it at a random moment, again and again. check is
// called after each kill with the totals that are left. In every fourth life longer, which may be nil, is called before
// the kill, and may wait. The last life ends with SIGTERM, and exactly.
func killCycles(
	t *testing.T, r *rig, cycles int, seed uint64, longer func(c *collector, ledgers []*ledger), check func(totals map[string]int, ledgers []*ledger),
) {
	t.Helper()
	random := evidence.Random(seed)
	ledgers := newLedgers(4)
	for i := range cycles {
		c := startCollector(t, "", r.config())
		stop := clients(t, r.in, ledgers, 0)
		time.Sleep(time.Duration(random.IntN(400_000)) * time.Microsecond)
		if i%4 == 3 && longer != nil {
			longer(c, ledgers)
		}
		require.NoError(t, c.cmd.Process.Kill())
		<-c.exited
		stop()
		check(r.read(t), ledgers)
	}

	before, accepted := r.read(t), map[string]int{}
	for _, l := range ledgers {
		accepted[l.who] = r.next.of(l.who)
	}
	c := startCollector(t, "", r.config())
	stop := clients(t, r.in, ledgers, 0)
	waitFor(t, "the last load", func() bool { return r.next.of(ledgers[0].who) > accepted[ledgers[0].who] })
	require.Zero(t, c.terminate(t))
	stop()
	for who, total := range r.read(t) {
		require.Equal(t, r.next.of(who)-accepted[who], total-before[who], "the last life of %s has ended with SIGTERM", who)
	}
}

// TestFault_kill_durable: with `durable` a kill loses nothing that was acknowledged, and nothing is counted that the
// next consumer has not accepted. What it has accepted and the store does not have is what a client was waiting for an
// answer to: a batch for each client and kill at most.
func TestFault_kill_durable(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		t.Run(fmt.Sprintf("fsync=%t", fsync), func(t *testing.T) {
			r := newRig(t)
			r.fsync = fsync
			killDurable(t, r, kills(t, 5, 2000), fmt.Sprintf("`durable`, fsync %t: SIGKILL under load, acknowledged <= counted <= accepted by the next consumer", fsync))
		})
	}
}

// TestFault_kill_redis: the same for a Collector that counts in Redis, and has no storage of its own.
func TestFault_kill_redis(t *testing.T) {
	r := newRig(t)
	r.redis = redistest.Start(t).Addr()
	killDurable(t, r, kills(t, 5, 2000), "`durable` in Redis: SIGKILL under load, acknowledged <= counted <= accepted by the next consumer")
}

func killDurable(t *testing.T, r *rig, cycles int, claim string) {
	t.Helper()
	seed := evidence.Seed(t)
	r.durable, r.flush = true, time.Hour
	var lost, extra, open, counts int64
	killed, unanswered := 0, 0
	killCycles(t, r, cycles, seed, nil, func(totals map[string]int, ledgers []*ledger) {
		killed++
		counts, open = 0, 0
		for _, l := range ledgers {
			total, accepted := int64(totals[l.who]), int64(r.next.of(l.who))
			counts += l.acknowledged.Load()
			open += accepted - total
			lost += max(0, l.acknowledged.Load()-total)
			extra += max(0, total-accepted)
			require.GreaterOrEqual(t, total, l.acknowledged.Load(), "%s: acknowledged <= counted", l.who)
			require.LessOrEqual(t, total, accepted, "%s: counted <= accepted by the next consumer", l.who)
			require.LessOrEqual(t, accepted, l.attempted.Load(), "%s", l.who)
			require.LessOrEqual(t, accepted-total, int64(killed*batchSize), "%s: one batch in flight at each kill", l.who)
		}
		unanswered = int(open / batchSize)
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{31}, Claim: claim, Seed: seed, Rounds: cycles, Unit: "kills", Fired: killed, Counts: counts, Lost: lost, Extra: extra,
		Note: fmt.Sprintf("counted = accepted, but for %d batches in flight at a kill, which no client was told of", unanswered),
	})
}

// TestFault_kill_flush_interval: without `durable` what is missing after a kill is at most what was counted since the
// last flush.
func TestFault_kill_flush_interval(t *testing.T) {
	cycles, seed := kills(t, 5, 2000), evidence.Seed(t)
	r := newRig(t)
	var counts, missing, safe int64
	killed := 0
	floor := map[string]int64{} // what is on disk for sure
	past := map[string]int64{}  // acknowledged in earlier lives
	// acknowledged when the third last flush of this life, or one before it, had not begun
	flushed := map[string]int64{}
	flushes := func(c *collector) int { return c.scrape(t).of("otelcol_extension_tally_memory_flushes").sum() }
	flush := func(c *collector, ledgers []*ledger) {
		for _, l := range ledgers {
			flushed[l.who] = l.acknowledged.Load()
		}
		// One flush may be under way, and what is acknowledged may be in the queue when the next begins.
		for until := flushes(c) + 3; flushes(c) < until; time.Sleep(10 * time.Millisecond) {
			require.False(t, c.hasExited())
		}
	}
	killCycles(t, r, cycles, seed, flush, func(totals map[string]int, ledgers []*ledger) {
		killed++
		for _, l := range ledgers {
			total, sure := int64(totals[l.who]), max(0, flushed[l.who]-past[l.who])
			require.GreaterOrEqual(t, total, floor[l.who]+sure, "%s", l.who)
			require.LessOrEqual(t, total, int64(r.next.of(l.who)), "%s: counted <= accepted by the next consumer", l.who)
			safe += sure
			missing += floor[l.who] + l.acknowledged.Load() - past[l.who] - total
			floor[l.who], past[l.who] = total, l.acknowledged.Load()
		}
	})
	for _, n := range past {
		counts += n
	}
	require.Positive(t, safe, "each kill came before the first flush")
	evidence.Report(t, evidence.Figure{
		Rows: []int{31}, Claim: "SIGKILL under load: what was counted before the last flush is there, and counted <= accepted by the next consumer",
		Seed: seed, Rounds: cycles, Unit: "kills", Fired: killed, Counts: counts,
		Note: fmt.Sprintf("`flush_interval` is %s; %d records had to be on disk; %d were acknowledged and not yet written", r.flush, safe, missing),
	})
}

// TestFault_kill_recovery kills a Collector while it starts over a state, at random moments, until the state has
// survived: nothing is ever missing.
func TestFault_kill_recovery(t *testing.T) {
	cycles, seed := kills(t, 8, 2000), evidence.Seed(t)
	random := evidence.Random(seed)
	r := newRig(t)
	r.durable = true
	ledgers := newLedgers(4)
	c := startCollector(t, "", r.config())
	stop := clients(t, r.in, ledgers, 0)
	waitFor(t, "some counts", func() bool { return r.next.sum() > 100*batchSize })
	require.Zero(t, c.terminate(t))
	stop()
	want := readState(t, r.directory)
	require.Equal(t, r.next.sum(), sumOfTotals(want))

	began := time.Now()
	ready := startCollector(t, "", r.config()) // how long a start takes
	took := time.Since(began)
	require.NoError(t, ready.cmd.Process.Kill())
	<-ready.exited
	var lost int64
	early := 0
	for range cycles {
		c := launchCollector(t, "", r.config())
		time.Sleep(time.Duration(random.Int64N(int64(took))))
		if !c.isReady(t) {
			early++
		}
		require.NoError(t, c.cmd.Process.Kill())
		<-c.exited
		if found := readState(t, r.directory); !equalTotals(want, found) {
			lost += int64(sumOfTotals(want) - sumOfTotals(found))
			require.Equal(t, want, found)
		}
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{32}, Claim: "SIGKILL of a Collector that starts over a state: nothing is lost", Unit: "kills",
		Seed: seed, Rounds: cycles, Fired: early, Counts: int64(sumOfTotals(want)), Lost: lost,
		Note: "fired = killed before it was ready",
	})
}

func equalTotals(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for who, n := range a {
		if b[who] != n {
			return false
		}
	}
	return true
}

func post(port int, body []byte) bool {
	response, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/v1/logs", port), protobuf, bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
