// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBadConfig wants to be told all mistakes at once, each with its YAML key and the value found.
func TestBadConfig(t *testing.T) {
	args := arguments(t, []string{`
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}
processors:
  tally:
    queue: {queue_size: -7, on_full: sometimes}
    logs:
      bad:
        conditions: ['attributes["x" ==']
        attributes: [{key: twin}, {key: twin}, {key: other, optional: true, default_value: 1}]
exporters:
  nop:
service:
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [nop]}
`})
	cmd := exec.CommandContext(t.Context(), collectorPath, append([]string{"validate"}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Positive(t, exit.ExitCode())
	for _, want := range []string{
		`"tally"`,
		"`queue::queue_size` is -7",
		"`queue::on_full` is \"sometimes\": unknown policy",
		"`logs::bad::conditions::0` is \"attributes[\\\"x\\\" ==\"",
		"`logs::bad::attributes::1`: attribute \"twin\"",
		"`logs::bad::attributes::2::default_value` is 1",
	} {
		assert.Contains(t, string(out), want)
	}
}
