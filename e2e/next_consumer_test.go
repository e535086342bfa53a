// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// TestFault_next_storm: seven of ten batches are refused, half of those for good. Clients send again what was refused.
func TestFault_next_storm(t *testing.T) {
	const share = 0.7
	t.Parallel() // with the soak: each takes an hour when the long rounds are asked for
	lasts, seed := endurance(t, 3*time.Second), evidence.Seed(t)
	r := newRig(t)
	r.next.failing(share, evidence.Random(seed))
	c := startCollector(t, "", r.config())
	ledgers := newLedgers(4)
	began := time.Now()
	stop := clients(t, r.in, ledgers, 0)
	time.Sleep(lasts)
	stop()
	took := time.Since(began).Round(time.Second)
	require.Zero(t, c.terminate(t))
	counts := requireExact(t, r, ledgers)
	var acknowledged, attempted int64
	for _, l := range ledgers {
		acknowledged += l.acknowledged.Load()
		attempted += l.attempted.Load()
	}
	require.Equal(t, acknowledged, counts, "every answer has come")
	evidence.Report(t, evidence.Figure{
		Rows: []int{1, 2}, Claim: "the next consumer refuses 70 % of the batches: counted = accepted = acknowledged", Seed: seed,
		Rounds: int(attempted / batchSize), Unit: "batches", Fired: r.next.refusals(), Counts: counts,
		Note: fmt.Sprintf("for %s; %d records attempted", took, attempted),
	})
}

// TestFault_next_partial_success: the backend says that it has rejected a part of each batch. tally counts what the
// next consumer accepted, and the exporter has: it warns, and returns no error.
func TestFault_next_partial_success(t *testing.T) {
	const batches = 20
	r := newRig(t)
	r.next.with(func() { r.next.partial = 3 })
	c := startCollector(t, "", r.config())
	for range batches {
		send(t, r.in, logsWith(sender, repeated("a", batchSize)))
	}
	warnings := strings.Count(c.readLog(t), "Partial success")
	require.Zero(t, c.terminate(t))
	require.Equal(t, map[string]int{"a": batches * batchSize}, readState(t, r.directory))
	evidence.Report(t, evidence.Figure{
		Rows: []int{9}, Claim: "a backend that accepts a part: counted is what the next consumer accepted, all of it", Rounds: batches,
		Unit: "batches", Fired: warnings, Counts: batches * batchSize,
	})
}

// TestFault_fanout_branch_fails: a receiver feeds a pipeline with tally and one whose backend fails. Clients send all
// of a batch again, so the branch with tally gets it again: and what it gets is what is counted.
func TestFault_fanout_branch_fails(t *testing.T) {
	const batches = 100
	seed := evidence.Seed(t)
	r := newRig(t)
	other := startNext(t)
	random := evidence.Random(seed)
	other.with(func() {
		other.decide = func() int { return []int{http.StatusOK, http.StatusServiceUnavailable}[random.IntN(2)] }
	})
	config := r.config() + "    logs/other: {receivers: [otlp], exporters: [otlp_http/other]}\n"
	config = strings.Replace(config, "exporters:\n", fmt.Sprintf(
		"exporters:\n  otlp_http/other: {endpoint: %q, sending_queue: {enabled: false}, retry_on_failure: {enabled: false}, compression: none}\n", other.URL), 1)
	c := startCollector(t, "", config)
	ledgers := newLedgers(4)
	stop := clients(t, r.in, ledgers, 0)
	waitFor(t, "both branches to have had enough", func() bool { return other.sum() > batches*batchSize })
	stop()
	require.Zero(t, c.terminate(t))
	counts := requireExact(t, r, ledgers)
	var acknowledged int64
	for _, l := range ledgers {
		acknowledged += l.acknowledged.Load()
	}
	require.Greater(t, counts, acknowledged, "the branch has had some of them twice")
	evidence.Report(t, evidence.Figure{
		Rows: []int{4}, Claim: "another branch of the fan-out fails, and clients send again: counted = what our branch accepted", Seed: seed,
		Rounds: int(counts / batchSize), Unit: "batches", Fired: other.refusals(), Counts: counts,
		Note: fmt.Sprintf("%d records were acknowledged, %d were accepted by our branch and counted", acknowledged, counts),
	})
}
