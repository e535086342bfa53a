// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The bundled configuration listens where the README says.
func TestAddressesOfTheQuickstart(t *testing.T) {
	config, err := readConfig("../../examples/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(addresses(config))
	for _, want := range []string{
		"extensions::tally_console::endpoint:" + defaultConsole, "receivers::otlp::protocols::grpc::endpoint:localhost:4317",
		"receivers::otlp::protocols::http::endpoint:localhost:4318", "service::telemetry::metrics:localhost:8888",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

// The console's address is the one that the configuration has.
func TestConsoleURL(t *testing.T) {
	for yaml, want := range map[string]string{
		"service: {extensions: [tally_console]}":                                                             "http://" + defaultConsole,
		"{extensions: {tally_console: }, service: {extensions: [a, tally_console]}}":                         "http://" + defaultConsole,
		"{extensions: {tally_console/b: {endpoint: 127.0.0.1:1}}, service: {extensions: [tally_console/b]}}": "http://127.0.0.1:1",
		"{extensions: {tally_console: {endpoint: 0.0.0.0:7}}, service: {extensions: [tally_console]}}":       "http://localhost:7",
		"{extensions: {tally_console: {endpoint: ':7'}}, service: {extensions: [tally_console]}}":            "http://localhost:7",
		"{extensions: {tally_console: {endpoint: '[::]:7'}}, service: {extensions: [tally_console]}}":        "http://localhost:7",
		"{extensions: {tally_console: {endpoint: '${env:X}'}}, service: {extensions: [tally_console]}}":      "pass the console's address",
		"{extensions: {tally_console: {endpoint: 127.0.0.1:1}}}":                                             "no tally_console in `service::extensions`",
		"": "no tally_console in `service::extensions`",
	} {
		config, err := readConfig(write(t, yaml))
		if err != nil {
			t.Fatal(err)
		}
		url, err := consoleURL("c.yaml", config)
		if got := url + fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %s", yaml, got)
		}
	}
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An address that another process has is named with its option before the Collector starts.
func TestTakenAddresses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	path := write(t, fmt.Sprintf(`
extensions: {tally_console: {endpoint: "127.0.0.1:0"}}
receivers: {otlp: {protocols: {grpc: {endpoint: "%s"}, http: {endpoint: "127.0.0.1:0"}}}}
service: {extensions: [tally_console], telemetry: {metrics: {level: none}}}`, taken))
	err = run("/nonexistent", path, "")
	want := taken + " is in use by another process: end that, or set another address at `receivers::otlp::protocols::grpc::endpoint` in " + path
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A console that does not answer is said to be waited for, and then given up.
func TestSilentConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cmd := exec.Command("true") // what the signal goes to has ended
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		w := watcher{url: "http://127.0.0.1:1", process: cmd.Process, signals: make(chan os.Signal)}
		exited := make(chan error)
		w.exited = exited
		time.AfterFunc(patience+pollInterval, func() { exited <- nil })
		w.scrape = func() (string, error) { return "", errors.New("connection refused") }
		began := time.Now()
		err := w.watch()
		if err == nil || !strings.Contains(err.Error(), "the console at http://127.0.0.1:1 does not answer: connection refused") {
			t.Error(err)
		}
		if waited := time.Since(began); waited < patience || waited > patience+time.Second {
			t.Error(waited)
		}
	})
}

// What the page has is a table of its counters.
func TestScrape(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE a_total counter\na_total{x=\"y\"} 3\n# TYPE g gauge\ng 1\n")
	}))
	defer server.Close()
	table, err := scrape(server.URL)
	if err != nil || !strings.Contains(table, "a_total") || !strings.Contains(table, "x=y") || strings.Contains(table, "\ng ") {
		t.Errorf("%q %v", table, err)
	}
}
