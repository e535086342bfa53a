// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSameProcessorInThreePipelines(t *testing.T) {
	ports := []int{freePort(t), freePort(t), freePort(t)}
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp/a: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  otlp/b: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  otlp/c: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {logs: {by.user: {description: One, attributes: [{key: user}]}}}
  tally/other: {logs: {by.user: {description: Another, attributes: [{key: user}]}}}
exporters:
  nop:
service:
  pipelines:
    logs/a: {receivers: [otlp/a], processors: [tally], exporters: [nop]}
    logs/b: {receivers: [otlp/b], processors: [tally], exporters: [nop]}
    logs/c: {receivers: [otlp/c], processors: [tally, tally/other], exporters: [nop]}
`, ports[0], ports[1], ports[2]))
	const rounds = 5
	for range rounds {
		for i, port := range ports {
			send(t, port, logsWith("user", slices.Repeat([]string{"ann", "bob", "bob"}, i+1)))
			c.scrape(t)
		}
	}
	c.waitSettled(t, "tally/other", rounds*3*3)
	shown := c.waitSettled(t, "tally", rounds*3*(1+2+3))
	require.Equal(t, page{
		series("by_user", "processor", "tally", "user", "ann"):       rounds * (1 + 2 + 3),
		series("by_user", "processor", "tally", "user", "bob"):       rounds * (1 + 2 + 3) * 2,
		series("by_user", "processor", "tally/other", "user", "ann"): rounds * 3,
		series("by_user", "processor", "tally/other", "user", "bob"): rounds * 3 * 2,
	}, shown.of("by_user"))
	requireLedger(t, shown, "tally", "by.user")
	requireLedger(t, shown, "tally/other", "by.user")
}

// TestSameNameWithoutDescription is about two processors that count under the same name, of which one has no
// description.
func TestSameNameWithoutDescription(t *testing.T) {
	first, second := freePort(t), freePort(t)
	c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp/first: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
  otlp/second: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {logs: {all: {}}}
  tally/other: {logs: {all: {description: All records}}}
exporters:
  nop:
service:
  pipelines:
    logs/first: {receivers: [otlp/first], processors: [tally], exporters: [nop]}
    logs/second: {receivers: [otlp/second], processors: [tally/other], exporters: [nop]}
`, first, second))
	send(t, first, logsWith("user", []string{"ann"}))
	c.waitSettled(t, "tally", 1) // so that the one without is there first
	send(t, second, logsWith("user", []string{"ann"}))
	require.Equal(t, 2, c.waitSettled(t, "tally/other", 1).of("all").sum())
}

func TestManySeries(t *testing.T) {
	const limit = 10_000 // the default
	for _, values := range []int{5000, 12_000} {
		t.Run(fmt.Sprint(values), func(t *testing.T) {
			port := freePort(t)
			c := startCollector(t, "", fmt.Sprintf(`
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally: {logs: {by.user: {attributes: [{key: user}]}}}
exporters:
  nop:
service:
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
`, port))
			users := make([]string, values)
			for i := range users {
				users[i] = fmt.Sprintf("user-%d", i)
			}
			records := 0
			for round := range 3 { // the first tenth of the users two times more
				for part := range slices.Chunk(users[:values/(1+9*min(round, 1))], 1000) {
					send(t, port, logsWith("user", part))
					records += len(part)
				}
			}
			shown := c.waitSettled(t, "tally", records)
			all := shown.of("by_user")
			overflow := all.with("otel_metric_overflow", "true")
			require.Equal(t, records, all.sum())
			require.Equal(t, min(values, limit), len(all)-len(overflow))
			require.Equal(t, max(values-limit, 0), overflow.sum())
			require.Len(t, overflow, min(max(values-limit, 0), 1))
			require.Equal(t, len(overflow), overflowLabels(all), "series with an overflow label of any kind")
			require.Equal(t, page{series("by_user", "processor", "tally", "user", "user-7"): 3}, all.with("user", "user-7"))
			require.Equal(t, len(overflow), shown.own("overflow_keys", "tally", ""))
			require.Equal(t, overflow.sum(), shown.own("records_overflowed", "tally", ""))
			requireLedger(t, shown, "tally", "by.user")
		})
	}
}

func overflowLabels(p page) int {
	n := 0
	for s := range p {
		if strings.Contains(s, "otel_metric_overflow") {
			n++
		}
	}
	return n
}
