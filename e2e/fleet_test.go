// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/redistest"
)

const (
	fleetPath  = "examples/fleet.yaml"
	readerPath = "examples/fleet-reader.yaml"
)

var fleetTotal = regexp.MustCompile(`(?m)^log_record_count\w*\{[^}]*tenant="([^"]+)"[^}]*\} (\S+)$`)

// TestFleet is `make fleet`: three Collectors count in one Redis, which is killed meanwhile, one of them is stopped,
// and a fourth Collector emits the totals of all.
func TestFleet(t *testing.T) {
	const each = 5000
	server := redistest.Start(t, "--appendonly", "yes")
	t.Setenv("REDIS", server.Addr())
	t.Setenv("SCRAPE", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	t.Setenv("INTERVAL", "500ms")
	startCollector(t, "", readerPath)
	var members []*collector
	var ports []int
	for range 3 {
		port := freePort(t)
		t.Setenv("OTLP", fmt.Sprintf("127.0.0.1:%d", port))
		members, ports = append(members, startCollector(t, "", fleetPath)), append(ports, port)
	}
	send := func() {
		for i, port := range ports {
			command(t, telemetrygenPath, telemetrygen(port, "--logs", strconv.Itoa(each), "--telemetry-attributes", fmt.Sprintf(`tenant="t%d"`, i%2))...)
		}
	}
	send()
	server.Restart()
	send()
	waitFor(t, "the totals of the fleet", func() bool {
		got := scrapeFleet(t)
		return got["t0"] == 4*each && got["t1"] == 2*each
	})
	require.NoError(t, members[2].cmd.Process.Signal(syscall.SIGTERM))
	<-members[2].exited
	ports = ports[:2]
	send()
	waitFor(t, "the totals of the fleet, with those of the one that is gone", func() bool {
		got := scrapeFleet(t)
		return got["t0"] == 5*each && got["t1"] == 3*each
	})
	t.Logf("three Collectors, totals by tenant: %v", scrapeFleet(t))
}

func scrapeFleet(t *testing.T) map[string]int {
	t.Helper()
	response, err := client.Get("http://" + os.Getenv("SCRAPE") + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	totals := map[string]int{}
	for _, line := range fleetTotal.FindAllSubmatch(body, -1) {
		n, err := strconv.ParseFloat(string(line[2]), 64)
		require.NoError(t, err)
		totals[string(line[1])] = int(n)
	}
	return totals
}
