// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	// so that `go test` does not show a cached result when its source has changed
	_ "github.com/logtally/tallyprocessor"
)

// The paths seen from this folder, and from the project's root.
const (
	root             = ".."
	collectorPath    = "dist/otelcol-tally"
	telemetrygenPath = ".tools/telemetrygen"
	quickstartPath   = "examples/quickstart.yaml"
	nginxPath        = "testdata/logs/nginx-access.log"
	postgresqlPath   = "testdata/logs/postgresql.log"
)

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "build what is tested:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// build builds the Collector and the generator of load, unless they are up to date.
func build() error {
	cmd := exec.Command("make", "-s", "-C", root, "build", telemetrygenPath)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	// What `go test` sees opened here it takes into account before it shows a cached result.
	for _, path := range []string{collectorPath, telemetrygenPath, quickstartPath, fleetPath, readerPath, nginxPath, postgresqlPath} {
		if _, err := os.Stat(root + "/" + path); err != nil {
			return err
		}
	}
	return nil
}
