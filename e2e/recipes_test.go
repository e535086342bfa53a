// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/needs"
)

// Each chapter of these pages that has logs and totals runs as it is printed, on the built Collector: the totals come
// out.
func TestRecipes(t *testing.T) {
	frame := chapters(t, "docs/recipes.md")[0].blocks["yaml"]
	for _, path := range []string{"docs/recipes.md", "docs/migrating.md"} {
		run := 0
		for _, c := range chapters(t, path) {
			if len(c.blocks["prometheus"]) == 0 {
				continue
			}
			run++
			t.Run(c.title, func(t *testing.T) { c.check(t, frame) })
		}
		assert.Greater(t, run, 5, path)
	}
}

// check runs the configuration of a chapter on its logs, until the totals are those that it shows.
func (c chapter) check(t *testing.T, frame []string) {
	place := newPlace(t)
	place.write(t, c)
	want := parsePage(t, []byte(strings.Join(c.blocks["prometheus"], "")))
	collector := startCollector(t, "", place.all(t, append(frame, c.blocks["yaml"]...))...)
	for _, script := range place.all(t, c.blocks["sh"]) {
		bash(t, script)
	}
	var got page
	defer func() {
		if t.Failed() {
			t.Logf("shown: %v\nwanted: %v", got, want)
		}
	}()
	waitFor(t, "the totals of the page", func() bool {
		got = collector.scrape(t)
		maps.Copy(got, place.exported(t))
		got = got.like(want)
		return maps.Equal(got, want)
	})
}

// exported returns the page of the Prometheus exporter, if the configuration has one.
func (p *place) exported(t *testing.T) page {
	t.Helper()
	address := p.ports["localhost:9464"]
	if address == "" {
		return nil
	}
	response, err := client.Get("http://" + address + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return parsePage(t, body)
}

// The pages say when a Collector that keeps its totals reads a file again, and when it does not.
func TestKeepingTotals(t *testing.T) {
	const lines = 5000
	c := chapterOf(t, "docs/keeping.md", "Keep totals over restarts")
	whole := often(c.blocks["yaml"][0])
	for name, test := range map[string]struct {
		config string
		want   float64
	}{
		"as it is printed":              {whole, lines},
		"without a storage of file_log": {strings.Replace(whole, "    storage: file_storage # offsets\n", "", 1), 2 * lines},
	} {
		t.Run(name, func(t *testing.T) {
			place := newPlace(t)
			require.NoError(t, os.WriteFile(place.logs, []byte(strings.Repeat("a line\n", lines)), 0o600))
			total := func() float64 {
				return float64(place.exported(t).of("log_record_count_total").sum())
			}
			first := startCollector(t, "", place.of(t, test.config))
			waitFor(t, "the file to be counted", func() bool { return total() == lines })
			require.Zero(t, first.terminate(t))

			second := startCollector(t, "", place.of(t, test.config))
			waitFor(t, "the totals after a restart", func() bool { return total() == test.want })
			appendTo(t, place.logs, "one more\n")
			waitFor(t, "the line that was added", func() bool { return total() == test.want+1 })
			require.Zero(t, second.terminate(t))
		})
	}
}

// often makes a configuration of the pages emit in less time than they say.
func often(config string) string {
	return strings.Replace(config, "collection_interval: 10s", "collection_interval: 200ms", 1)
}

// A backup that is restored has the totals and the offsets of one moment: all that was written since is read again, and
// counted once.
func TestRestore(t *testing.T) {
	config := often(chapterOf(t, "docs/keeping.md", "Keep totals over restarts").blocks["yaml"][0])
	place := newPlace(t)
	run := func(want int) {
		c := startCollector(t, "", place.of(t, config))
		waitFor(t, "the total to be complete", func() bool { return place.exported(t).of("log_record_count_total").sum() == want })
		require.Zero(t, c.terminate(t))
	}
	require.NoError(t, os.WriteFile(place.logs, []byte(strings.Repeat("a line\n", 100)), 0o600))
	run(100)
	backup := copyState(t, place.state)
	appendTo(t, place.logs, strings.Repeat("since the backup\n", 23))
	run(123)
	place.state = backup
	run(123)
}

// Prometheus takes the alerts and the queries of the pages.
func TestAlertsAndQueries(t *testing.T) {
	alerts := chapterOf(t, "docs/telemetry.md", "Alerts").blocks["yaml rules"]
	queries := "groups:\n  - name: queries\n    rules:\n"
	for _, c := range chapters(t, "docs/recipes.md") {
		for query := range strings.Lines(strings.Join(c.blocks["promql"], "")) {
			queries += fmt.Sprintf("      - {alert: Query, expr: %q}\n", strings.TrimSpace(query))
		}
	}
	require.Greater(t, strings.Count(queries, "\n"), 6)
	for _, text := range append(alerts, queries) {
		rules := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(rules, []byte(text), 0o600))
		out, err := exec.CommandContext(t.Context(), needs.Program(t, "promtool"), "check", "rules", rules).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// With `durable` and a file_log that sends on what it reads before it stores how far it has read, as the page says, a
// Collector that is killed misses no line; some may count twice.
func TestKilledReaderMissesNoLine(t *testing.T) {
	const rounds, chunk = 6, 50
	config := often(chapterOf(t, "docs/keeping.md", "Keep totals over restarts").blocks["yaml"][0])
	config = strings.Replace(config, "processors:\n  tally:\n", "processors:\n  tally:\n    durable: true\n"+
		"    logs: {lines: {attributes: [{key: line, value: body}], cardinality_limit: 0}}\n", 1)
	config = strings.Replace(config, "start_at: beginning", "start_at: beginning\n    poll_interval: 20ms", 1)
	place := newPlace(t)
	require.NoError(t, os.WriteFile(place.logs, nil, 0o600))
	const synchronous = "--feature-gates=stanza.synchronousLogEmitter"
	lines := 0
	write := func() {
		for range chunk {
			lines++
			appendTo(t, place.logs, fmt.Sprintf("line %d\n", lines))
		}
	}
	for range rounds {
		c := startCollector(t, "", place.of(t, config), synchronous)
		for range 10 + rand.IntN(30) {
			write()
			time.Sleep(time.Duration(rand.IntN(int(10 * time.Millisecond))))
		}
		require.NoError(t, c.cmd.Process.Kill())
		<-c.exited
	}
	write()
	startCollector(t, "", place.of(t, config), synchronous)
	var counted page
	defer func() {
		t.Logf("%d lines, %d of them counted, %d times, after %d kills", lines, len(counted), counted.sum(), rounds)
	}()
	waitFor(t, "every line to be counted", func() bool {
		counted = place.exported(t).of("lines_total")
		return len(counted) == lines
	})
}
