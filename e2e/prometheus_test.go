// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/needs"
)

// prometheus is a running Prometheus that takes remote writes.
type prometheus struct{ url string }

func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	return startPrometheusWith(t, "global: {}\n")
}

// runPrometheus starts a Prometheus with the configuration at a path.
func runPrometheus(t *testing.T, config string) *prometheus {
	t.Helper()
	binary := needs.Program(t, "prometheus")
	dir := t.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cmd := exec.Command(binary, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address, "--web.enable-remote-write-receiver")
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	require.NoError(t, err)
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		_ = stderr.Close() // nothing more comes
		if text, err := os.ReadFile(stderr.Name()); t.Failed() && err == nil {
			t.Logf("log of Prometheus:\n%s", text)
		}
	})
	p := &prometheus{url: "http://" + address}
	waitFor(t, "Prometheus to be ready", func() bool {
		response, err := client.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// query returns the values of an instant vector, by the value of one label.
func (p *prometheus) query(t *testing.T, expression, label string, at float64) map[string]float64 {
	t.Helper()
	parameters := url.Values{"query": {expression}, "time": {strconv.FormatFloat(at, 'f', 3, 64)}}
	response, err := client.Get(p.url + "/api/v1/query?" + parameters.Encode())
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Empty(t, answer.Error)
	values := map[string]float64{}
	for _, series := range answer.Data.Result {
		value, err := strconv.ParseFloat(series.Value[1].(string), 64)
		require.NoError(t, err)
		values[series.Metric[label]] = value
	}
	return values
}

// TestPrometheusRemoteWrite: examples/remote-write.yaml with a real Prometheus. What increase() says of each series is
// what was sent, the first records included, and a restart of the Collector is neither a dip nor a jump.
func TestPrometheusRemoteWrite(t *testing.T) {
	const label = "deployment_environment_name"
	prom, port := startPrometheus(t), freePort(t)
	t.Setenv("TALLY_STATE", t.TempDir())
	t.Setenv("REMOTE_WRITE", prom.url+"/api/v1/write")
	overrides := fmt.Sprintf(`
receivers:
  otlp: {protocols: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:%d}}}
  tally: {collection_interval: 300ms, initial_delay: 100ms}
`, port)
	sent := map[string]float64{}
	for life := range 3 {
		c := startCollector(t, "", "examples/remote-write.yaml", overrides)
		for burst := range 8 {
			// a new environment in the middle of each life: its first records must be in the increase
			for _, environment := range []string{"production", fmt.Sprint("life-", life)} {
				if environment != "production" && burst < 3 {
					continue
				}
				values := make([]string, 10*burst+1)
				for i := range values {
					values[i] = environment
				}
				send(t, port, logsWith("deployment.environment.name", values))
				sent[environment] += float64(len(values))
			}
			time.Sleep(200 * time.Millisecond) // spreads the records over several collections, which is what is tested
		}
		require.Zero(t, c.terminate(t))
	}
	require.Len(t, sent, 4)

	now := float64(time.Now().UnixMilli()) / 1000
	last := prom.query(t, `timestamp(log_record_count_total)`, label, now)
	require.Len(t, last, 4)
	for environment, want := range sent {
		series := fmt.Sprintf(`log_record_count_total{%s=%q}`, label, environment)
		// At the time of its last point nothing is extrapolated.
		assert.InDelta(t, want, prom.query(t, "increase("+series+"[10m])", label, last[environment])[environment], 1e-6, environment)
		assert.Equal(t, want, prom.query(t, series, label, now)[environment], environment)
		assert.Zero(t, prom.query(t, "resets("+series+"[10m])", label, now)[environment], environment)
		t.Logf("%s: %v sent", environment, want)
	}
}
