// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package evidence is how the fault tests tell what they have shown: a figure each, to the log of the test, and to the
// file that tools/evidencereport makes docs/reliability.md of.
package evidence

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The environment variables that the fault tests heed.
const (
	FileVariable   = "TALLY_EVIDENCE"  // path of the file that figures are appended to, as lines of JSON; empty = none
	CommitVariable = "TALLY_COMMIT"    // what is tested, for the file; empty = unknown
	LongVariable   = "TALLY_TEST_LONG" // anything but empty asks for the long rounds
	SeedVariable   = "TALLY_TEST_SEED" // the seed of the tests that use chance; empty = a new one for each
)

// Figure is what a fault test has shown.
type Figure struct {
	Rows   []int  `json:"rows,omitempty"`   // of the fault table that it covers; none = none of them
	Claim  string `json:"claim"`            // what holds, in a line
	Seed   uint64 `json:"seed,omitempty"`   // of Seed; 0 = nothing was left to chance
	Rounds int    `json:"rounds"`           // how often it was tried, at least 1
	Unit   string `json:"unit,omitempty"`   // of the rounds, such as "kills"; empty = "rounds"
	Fired  int    `json:"fired"`            // how often the fault has happened; never is a failure of the test
	Counts int64  `json:"counts,omitempty"` // how much counting was at stake, in records; 0 = it is not about that
	Lost   int64  `json:"lost"`             // records that should have been counted and were not
	Extra  int64  `json:"extra"`            // records that were counted and should not have been
	Loses  bool   `json:"loses,omitempty"`  // that Lost is not zero is what was to be shown, not a failure
	Note   string `json:"note,omitempty"`   // whatever else was measured
}

// Entry is a line of the file: a figure, and whose it is.
type Entry struct {
	Test    string `json:"test"`
	Package string `json:"package"` // import path
	Figure
	Failed bool      `json:"failed,omitempty"` // the test has failed, with this figure or later
	Long   bool      `json:"long,omitempty"`   // the long rounds were asked for
	Commit string    `json:"commit,omitempty"` // what CommitVariable says
	Began  time.Time `json:"began"`            // when the test's process did
}

var began = time.Now().UTC()

// Report logs a figure, and appends it to the file when the test has ended. A fault that has not happened, and a loss
// or a surplus, fail the test. A test may report several figures. One that was skipped has none.
func Report(t testing.TB, f Figure) {
	t.Helper()
	if t.Skipped() { // a deferred report of a test that the machine cannot run
		return
	}
	e := Entry{Test: t.Name(), Package: callersPackage(), Figure: f, Long: Long(), Commit: os.Getenv(CommitVariable), Began: began}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatalf("report a figure: %v", err)
	}
	t.Logf("evidence: %s", line)
	if f.Fired <= 0 {
		t.Errorf("the fault has not happened in %d rounds", f.Rounds)
	}
	if f.Extra != 0 || f.Lost != 0 && !f.Loses {
		t.Errorf("lost %d, extra %d", f.Lost, f.Extra)
	}
	t.Cleanup(func() {
		e.Failed = t.Failed()
		if path := os.Getenv(FileVariable); path != "" {
			if err := write(path, e); err != nil {
				t.Errorf("report a figure: %v", err)
			}
		}
	})
}

// write appends a line in one piece, so that several test processes can share a file.
func write(path string, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(append(line, '\n')); err != nil {
		_ = file.Close() // the first error tells more
		return err
	}
	return file.Close()
}

// callersPackage returns the import path of the package that has called Report.
func callersPackage() string {
	pc, _, _, _ := runtime.Caller(2)
	name := runtime.FuncForPC(pc).Name()
	slash := strings.LastIndex(name, "/") + 1
	pkg, _, _ := strings.Cut(name[slash:], ".")
	return name[:slash] + strings.TrimSuffix(pkg, "_test")
}

// Seed returns the seed of a test, and logs it: a new one, or what the variable says.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(SeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("read %s: %v", SeedVariable, err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

// Random returns a source of chance with a seed of Seed. It is not safe for concurrent use.
func Random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// Long says whether the long rounds are asked for.
func Long() bool { return os.Getenv(LongVariable) != "" }

// Rounds returns the one number in the tests of every day, and the other when the long rounds are asked for.
func Rounds(short, long int) int {
	if Long() {
		return long
	}
	return short
}
