// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// member is a Collector of a fleet, and the client that sends to it.
type member struct {
	*collector
	in     int // port
	config string
	ledger *ledger
}

func (m *member) launch(t *testing.T) {
	m.collector = launchCollector(t, "", m.config)
}

func (m *member) waitReady(t *testing.T) {
	t.Helper()
	waitFor(t, "a Collector of the fleet to be ready", func() bool { return m.hasExited() || m.isReady(t) })
	require.False(t, m.hasExited(), "a Collector of the fleet has ended at once")
}

func memberConfig(redis string, in int, directory string) string {
	return fmt.Sprintf(`
extensions:
  file_storage: {directory: %q}
  tally_redis: {endpoints: [%q], tls: {insecure: true}, storage: file_storage, flush_interval: 200ms, heartbeat_interval: 1s, max_backoff: 1s}
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {store: tally_redis, durable: false, resource_attributes: [], logs: {log.record.count: {attributes: [{key: %s}]}}}
exporters:
  nop:
service:
  extensions: [file_storage, tally_redis]
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
`, directory, redis, in, sender)
}

// TestFault_redis_swarm: thirty Collectors count in one Redis, which is killed again and again, as some of them are
// ended and started again. A last Collector reads the totals: each is what its client was told to be accepted. Then
// some are killed: what is missing then is at most what they had not sent yet.
func TestFault_redis_swarm(t *testing.T) {
	const size = 30
	kills, seed := evidence.Rounds(6, 100), evidence.Seed(t)
	random := evidence.Random(seed)
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	fleet := make([]*member, size)
	for i, l := range newLedgers(size) {
		in := freePort(t)
		fleet[i] = &member{in: in, config: memberConfig(server.Addr(), in, t.TempDir()), ledger: l}
		fleet[i].launch(t)
	}
	out := freePort(t)
	reader, err := os.ReadFile(root + "/" + readerPath)
	require.NoError(t, err)
	startCollector(t, "", strings.NewReplacer("${env:REDIS:-localhost:6379}", server.Addr(), "${env:SCRAPE:-localhost:9464}",
		fmt.Sprintf("127.0.0.1:%d", out), "${env:INTERVAL:-10s}", "500ms").Replace(string(reader)))
	for _, m := range fleet {
		m.waitReady(t)
	}
	var stops []func()
	for _, m := range fleet {
		stops = append(stops, clients(t, m.in, []*ledger{m.ledger}, 20*time.Millisecond))
	}
	ended := 0
	for range kills {
		time.Sleep(time.Duration(200+random.IntN(800)) * time.Millisecond)
		server.Restart()
		i := random.IntN(size)
		stops[i]()
		require.Zero(t, fleet[i].terminate(t), "a Collector ends as it should while the server is away or back")
		fleet[i].launch(t)
		fleet[i].waitReady(t)
		stops[i] = clients(t, fleet[i].in, []*ledger{fleet[i].ledger}, 20*time.Millisecond)
		ended++
	}
	for _, stop := range stops {
		stop()
	}
	read := func() map[string]int {
		p := collector{metricsPort: out}
		totals := map[string]int{}
		page := p.scrape(t).of("log_record_count_total")
		for _, m := range fleet {
			totals[m.ledger.who] = page.with(sender, m.ledger.who).sum()
		}
		return totals
	}
	var counts int64
	for _, m := range fleet {
		counts += m.ledger.acknowledged.Load()
	}
	waitFor(t, "the totals of the fleet to be what was acknowledged", func() bool {
		totals := read()
		for _, m := range fleet {
			if int64(totals[m.ledger.who]) != m.ledger.acknowledged.Load() {
				return false
			}
		}
		return true
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{60}, Claim: "30 Collectors, Redis killed, Collectors ended and started: each total is what was acknowledged",
		Unit: "kills of Redis", Seed: seed, Rounds: kills, Fired: kills, Counts: counts, Note: strconv.Itoa(ended) + " Collectors ended and started",
	})

	// SIGKILL: what a Collector had not sent is gone; with `durable` nothing that was acknowledged.
	const killed = 5
	for _, m := range fleet[:killed] {
		require.Zero(t, m.terminate(t))
		m.config = strings.Replace(m.config, "durable: false", "durable: true", 1)
		m.launch(t)
	}
	for _, m := range fleet[:killed] {
		m.waitReady(t)
		stop := clients(t, m.in, []*ledger{m.ledger}, 5*time.Millisecond)
		time.Sleep(time.Duration(500+random.IntN(1000)) * time.Millisecond)
		require.NoError(t, m.cmd.Process.Signal(syscall.SIGKILL))
		stop()
	}
	var lost, extra int64
	waitFor(t, "totals within their bounds", func() bool {
		totals := read()
		lost, extra = 0, 0
		for _, m := range fleet[:killed] {
			lost += max(0, m.ledger.acknowledged.Load()-int64(totals[m.ledger.who]))
			extra += max(0, int64(totals[m.ledger.who])-m.ledger.attempted.Load())
		}
		return lost == 0
	})
	evidence.Report(t, evidence.Figure{
		Rows: []int{60}, Claim: "SIGKILL of Collectors of a fleet with `durable`: acknowledged <= total <= attempted", Unit: "kills", Rounds: killed,
		Fired: killed, Lost: lost, Extra: extra,
	})
}
