// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package needs skips the tests that this machine has not the programs for, so that `go test` passes where Go is alone.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// AllVariable is the environment variable that makes a missing program a failure, if it is not empty: `make test` sets
// it, so that no test is left out unnoticed.
const AllVariable = "TALLY_TEST_ALL"

// Program returns the path of a program, and skips the test when it is not installed.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name, "`make setup` installs it")
	}
	return path
}

// Missing ends the test because the machine does not have what it needs: skipped, or failed with AllVariable. The hint
// says how to get it.
func Missing(t testing.TB, what, hint string) {
	t.Helper()
	if os.Getenv(AllVariable) != "" {
		t.Fatalf("%s is missing, and %s wants all tests to run; %s", what, AllVariable, hint)
	}
	t.Skipf("%s is missing; %s", what, hint)
}
