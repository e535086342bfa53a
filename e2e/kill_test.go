// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// defaultKills is how many cycles TestSIGKILL has; the variable TALLY_TEST_KILLS sets another number.
const defaultKills = 10

// TestSIGKILL kills the Collector at a random moment under load, again and again. Its state is readable each time, and
// what is missing is at most what was counted since the last flush: acknowledged before it <= total <= attempted.
func TestSIGKILL(t *testing.T) {
	const (
		flushInterval = 50 * time.Millisecond
		slack         = 500 * time.Millisecond // for a write on a busy machine
		batch         = 10
	)
	kills := defaultKills
	if text := os.Getenv("TALLY_TEST_KILLS"); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	in, out := freePort(t), freePort(t)
	config := fmt.Sprintf(`
extensions:
  file_storage: {directory: %q}
  tally_memory: {storage: file_storage, flush_interval: %s}
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  tally: {store: tally_memory, collection_interval: 50ms, initial_delay: 1ms}
processors:
  tally: {store: tally_memory, resource_attributes: []}
exporters:
  nop:
  prometheus: {endpoint: 127.0.0.1:%d}
service:
  extensions: [file_storage, tally_memory]
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
    metrics: {receivers: [tally], exporters: [prometheus]}
`, t.TempDir(), flushInterval, in, out)
	body, err := plogotlp.NewExportRequestFromLogs(logsWith("a", make([]string, batch))).MarshalProto()
	require.NoError(t, err)

	// A total is the sum of what each life of the Collector has left behind.
	total, missing, safe := 0, 0, 0
	for life := range kills + 1 {
		c := startCollector(t, "", config)
		if life > 0 {
			total = waitTotal(t, out)
		}
		base := total
		var acknowledged []time.Time
		attempted := 0
		kill := time.Now().Add(time.Duration(200+random.IntN(700)) * time.Millisecond)
		for time.Now().Before(kill) {
			attempted++
			if !post(in, body) {
				break
			}
			acknowledged = append(acknowledged, time.Now())
		}
		require.NotEmpty(t, acknowledged, "nothing was sent before the kill")
		if life == kills { // the last life ends as it should: nothing may be missing
			require.Zero(t, c.terminate(t))
			startCollector(t, "", config)
			require.Equal(t, base+batch*len(acknowledged), waitTotal(t, out))
			break
		}
		require.NoError(t, c.cmd.Process.Kill())
		killed := time.Now()
		<-c.exited

		flushed := 0
		for _, at := range acknowledged {
			if at.Before(killed.Add(-flushInterval - slack)) {
				flushed++
			}
		}
		check := startCollector(t, "", config)
		total = waitTotal(t, out)
		require.NoError(t, check.cmd.Process.Kill())
		<-check.exited
		require.GreaterOrEqual(t, total, base+batch*flushed, "life %d", life)
		require.LessOrEqual(t, total, base+batch*attempted, "life %d", life)
		safe += batch * flushed
		missing += base + batch*len(acknowledged) - total
	}
	require.Positive(t, safe, "each kill came before the first flush")
	t.Logf("%d kills; %d records had to be on disk, and were; %d others were acknowledged and not yet written", kills, safe, missing)
}

func post(port int, body []byte) bool {
	response, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/v1/logs", port), protobuf, bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// waitTotal waits until the exporter shows the total that was restored, and returns it.
func waitTotal(t *testing.T, port int) int {
	t.Helper()
	c := collector{metricsPort: port}
	total := 0
	waitFor(t, "the restored total to be shown", func() bool {
		total = c.scrape(t).of("log_record_count_total").sum()
		return total > 0
	})
	return total
}
