// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/needs"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

const fleetPage = "docs/fleet.md"

// Two Collectors run on one host, the second with the ports and the folder of the page.
func TestTwoCollectorsOnOneHost(t *testing.T) {
	place := newPlace(t)
	base, err := os.ReadFile(filepath.Join(root, "examples/console.yaml"))
	require.NoError(t, err)
	startCollector(t, "", place.of(t, string(base)))
	second := chapterOf(t, fleetPage, "Two Collectors on one host").blocks["yaml"][0]
	startCollector(t, "", place.of(t, string(base)), place.of(t, second))
}

// The shell commands of the page give the server its users, with which a Collector of the page counts and reads; after
// a restart of the server as well.
func TestServerWithAPassword(t *testing.T) {
	t.Setenv("TALLY_REDIS_PASSWORD", "some|long>password <with* '\"blanks")
	t.Setenv("ADMIN_REDIS_PASSWORD", "another")
	for name, start := range map[string]func(testing.TB, ...string) *redistest.Server{"redis": redistest.Start, "valkey": redistest.StartValkey} {
		t.Run(name, func(t *testing.T) {
			c := chapterOf(t, fleetPage, "A server with a password")
			users := filepath.Join(t.TempDir(), "users.acl")
			require.NoError(t, os.WriteFile(users, nil, 0o600))
			server := start(t, "--aclfile", users, "--appendonly", "yes")
			place := newPlace(t)
			place.ports["localhost:6379"] = server.Near()
			_, err := server.TryCLI("PING")
			require.NoError(t, err)
			bash(t, place.of(t, c.blocks["sh"][0]))
			_, err = server.TryCLI("PING")
			require.Error(t, err, "nobody without a password")

			startCollector(t, "", often(place.of(t, c.blocks["yaml"][0])))
			post := `curl -sf localhost:4318/v1/logs -H 'Content-Type: application/json' ` +
				`-d '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"paid"}}]}]}]}'`
			bash(t, place.of(t, post))
			waitFor(t, "the total of the fleet", func() bool { return place.exported(t).of("log_record_count_total").sum() == 1 })
			stored, err := os.ReadFile(users)
			require.NoError(t, err)
			assert.Contains(t, string(stored), "user tally on ")
			assert.Contains(t, string(stored), "user default off ")
		})
	}
}

// The console of the page answers by TLS to who has the token, and to nobody else.
func TestConsoleWithTLSAndToken(t *testing.T) {
	needs.Program(t, "openssl")
	c := chapterOf(t, fleetPage, "The console with TLS and a token")
	place := newPlace(t)
	setup, ask := place.of(t, c.blocks["sh"][0]), place.of(t, c.blocks["sh"][1])
	bash(t, setup)
	startCollector(t, "", place.of(t, c.blocks["yaml"][0]))
	waitFor(t, "the console to answer", func() bool { return exec.Command("bash", "-c", "set -e; cd "+root+"; "+ask+" >/dev/null").Run() == nil })
	assert.Contains(t, bash(t, ask), `"state":"ok"`)
	for name, bad := range map[string]string{
		"another token": strings.Replace(ask, "Bearer $(", "Bearer x$(", 1),
		"no token":      strings.Replace(ask, "-H ", "-H x: -H x", 1),
	} {
		require.NotEqual(t, ask, bad, name)
		out, err := exec.Command("bash", "-c", bad).CombinedOutput()
		require.Error(t, err, name)
		assert.Contains(t, string(out), "401", name)
	}
	out, err := exec.Command("bash", "-c", strings.Replace(ask, "https:", "http:", 1)).CombinedOutput()
	require.Error(t, err, "%s", out)
}

// The console answers each query of its page, about the logs of the quickstart.
func TestConsoleQueries(t *testing.T) {
	quickstart, err := os.ReadFile(filepath.Join(root, quickstartPath))
	require.NoError(t, err)
	place := newPlace(t)
	startCollector(t, "", place.of(t, string(quickstart)), place.of(t, "extensions:\n  tally_console: {endpoint: \"localhost:13690\", sample_interval: 100ms}\n"))
	ask := func(query string) error {
		return exec.CommandContext(t.Context(), "bash", "-c", query+" >/dev/null").Run()
	}
	waitFor(t, "nginx to be counted", func() bool {
		return ask(place.of(t, "curl -sf 'localhost:13690/api/v1/totals?metric=http.requests&where=resource.service.name=nginx'")) == nil
	})
	asked := 0
	for _, c := range chapters(t, "docs/console.md") {
		for query := range strings.Lines(strings.Join(c.blocks["sh"], "")) {
			asked++
			require.NoError(t, ask(place.of(t, strings.TrimSpace(query))), query)
		}
	}
	assert.Equal(t, 4, asked)
}
