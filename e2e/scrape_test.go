// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// client keeps no connections, and so no goroutines.
// client waits for longer than a busy machine may stall: who gives up does not know what was accepted.
var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// page is what /metrics shows: the values of the counters and gauges by series, which is written as Prometheus does,
// with sorted labels.
type page map[string]float64

// page returns the text of the Collector's telemetry.
func (c *collector) page() ([]byte, error) {
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", c.metricsPort))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return body, err
}

func (c *collector) scrape(t *testing.T) page {
	t.Helper()
	body, err := c.page()
	require.NoError(t, err)
	return parsePage(t, body)
}

func seriesOf(name string, m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, l.GetName(), l.GetValue())
	}
	return series(name, labels...)
}

// series returns the name of a series with the labels given as names and values in turn.
func series(name string, labels ...string) string {
	var parts []string
	for l := range slices.Chunk(labels, 2) {
		parts = append(parts, fmt.Sprintf("%s=%q", l[0], l[1]))
	}
	slices.Sort(parts)
	return name + "{" + strings.Join(parts, ",") + "}"
}

// of returns the series of one metric.
func (p page) of(metric string) page {
	found := page{}
	for s, value := range p {
		if strings.HasPrefix(s, metric+"{") {
			found[s] = value
		}
	}
	return found
}

// with returns the series that have a label of that value.
func (p page) with(label, value string) page {
	text := fmt.Sprintf("%s=%q", label, value)
	found := page{}
	for s, value := range p {
		_, labels, _ := strings.Cut(strings.TrimSuffix(s, "}"), "{")
		if labels == text || strings.HasPrefix(labels, text+",") || strings.HasSuffix(labels, ","+text) ||
			strings.Contains(labels, ","+text+",") {
			found[s] = value
		}
	}
	return found
}

func (p page) sum() int {
	var sum float64
	for _, value := range p {
		sum += value
	}
	return int(sum)
}

// own returns what one of tally's own metrics adds up to in a processor, over the series of the metric that is counted
// if one is given.
func (p page) own(name, processor, metric string) int {
	found := p.of("otelcol_processor_tally_"+name).with("processor", processor)
	if metric != "" {
		found = found.with("metric", metric)
	}
	return found.sum()
}

// waitSettled waits until a processor has received the records and dealt with all of them, and returns what /metrics
// shows then.
func (c *collector) waitSettled(t *testing.T, processor string, records int) page {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s to have dealt with %d records", processor, records), func() bool {
		p := c.scrape(t)
		return p.own("records_received", processor, "") >= records && p.own("records_in_flight", processor, "") == 0
	})
	p := c.scrape(t) // the series of the one before may be of different moments
	require.Equal(t, records, p.own("records_received", processor, ""))
	return p
}

// requireLedger wants each record received to be counted or not counted for a reason, by each metric.
func requireLedger(t *testing.T, p page, processor string, metrics ...string) {
	t.Helper()
	received := p.own("records_received", processor, "")
	for _, metric := range metrics {
		assert.Equal(t, received, p.own("records_counted", processor, metric)+p.own("records_not_counted", processor, metric), metric)
		assert.Zero(t, p.own("records_in_flight", processor, metric), metric)
	}
	require.False(t, t.Failed())
}
