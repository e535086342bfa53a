// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// TestFault_resource_cardinality_bomb sends a Collector ever new keys, under its default limit of 10,000. Its memory
// stays where it was when the limit was full, and the sum over all series is exact.
func TestFault_resource_cardinality_bomb(t *testing.T) {
	const batch, limit = 5000, 10_000
	batches := evidence.Rounds(60, 2000)
	in, directory := freePort(t), t.TempDir()
	c := startCollector(t, "", fmt.Sprintf(`
extensions:
  file_storage: {directory: %q}
  tally_memory: {storage: file_storage}
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {store: tally_memory, resource_attributes: [], logs: {all: {attributes: [{key: %s}]}}}
exporters:
  nop:
service:
  extensions: [file_storage, tally_memory]
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
`, directory, in, sender))
	full := 0 // peak of the resident memory when the limit had been full for a while, in KiB
	values := make([]string, batch)
	for n := range batches {
		for i := range values {
			values[i] = "key " + strconv.Itoa(n*batch+i)
		}
		send(t, in, logsWith(sender, values))
		if n == 50 {
			full = c.peakMemory(t)
		}
	}
	peak := c.peakMemory(t)
	require.Zero(t, c.terminate(t))
	totals := readState(t, directory)
	assert.LessOrEqual(t, len(totals), limit+1)
	assert.Less(t, peak-full, 64<<10, "KiB that it has grown by, of which garbage is the most")
	sum := sumOfTotals(totals)
	offered := batches * batch
	evidence.Report(t, evidence.Figure{
		Rows: []int{68}, Claim: "a Collector gets distinct keys without end: the sum over all series is exact, their number and its memory are bounded",
		Rounds: offered, Unit: "keys offered", Fired: offered - limit, Counts: int64(offered),
		Lost: int64(max(0, offered-sum)), Extra: int64(max(0, sum-offered)),
		Note: fmt.Sprintf("%d series kept; peak of its resident memory %d MiB after 255,000 keys, %d MiB in the end", len(totals), full>>10, peak>>10),
	})
}

var peakMemory = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory returns the peak of the resident memory up to now, in KiB.
func (c *collector) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	require.NoError(t, err)
	found := peakMemory.FindSubmatch(status)
	require.NotNil(t, found)
	kB, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return kB
}
