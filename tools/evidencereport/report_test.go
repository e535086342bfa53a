// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logtally/tallyprocessor/tools/internal/machine"
)

const sampleFigures = `{"test":"TestFault_next_refuses","package":"github.com/logtally/tallyprocessor","rows":[1],"claim":"refused counts nothing","rounds":2,"fired":1,"lost":0,"extra":0,"commit":"aaaaaaa","began":"2026-01-01T00:00:00Z"}
{"test":"TestFault_next_refuses","package":"github.com/logtally/tallyprocessor","rows":[1],"claim":"a claim of before","rounds":2,"fired":1,"lost":0,"extra":0,"began":"2026-01-01T00:00:00Z"}
{"test":"TestFault_kill_load/durable","package":"github.com/logtally/tallyprocessor/e2e","rows":[31],"claim":"kills","seed":7,"rounds":3000,"unit":"kills","fired":3000,"counts":1234567,"lost":0,"extra":0,"long":true,"began":"2026-01-02T00:00:00Z"}
{"test":"TestFault_kill_load/kept","package":"github.com/logtally/tallyprocessor/e2e","claim":"others","rounds":1000,"unit":"kills","fired":900,"note":"noted","began":"2026-01-02T00:00:00Z"}
{"test":"TestFault_storage_eio","package":"github.com/logtally/tallyprocessor/e2e","rows":[39],"claim":"eio","rounds":1,"fired":0,"lost":0,"extra":0,"failed":true,"began":"2026-01-02T00:00:00Z"}
{"test":"TestFault_storage_power","package":"github.com/logtally/tallyprocessor/e2e","rows":[42],"claim":"power","rounds":15,"fired":15,"lost":99,"extra":0,"loses":true,"began":"2026-01-02T00:00:00Z"}
{"test":"TestFault_next_refuses","package":"github.com/logtally/tallyprocessor","rows":[1],"claim":"refused counts nothing","rounds":5,"fired":4,"lost":0,"extra":0,"commit":"bbbbbbb","began":"2026-01-03T00:00:00Z"}
`

const sampleTests = `{"Action":"fail","Package":"github.com/logtally/tallyprocessor","Test":"TestFault_next_refuses"}
{"Action":"run","Package":"github.com/logtally/tallyprocessor","Test":"TestFault_next_refuses"}
{"Action":"output","Package":"p","Test":"TestFault_resource_oom","Output":"=== RUN   TestFault_resource_oom\n"}
{"Action":"output","Package":"p","Test":"TestFault_resource_oom","Output":"    oom_test.go:12: needs a memory cgroup\n"}
{"Action":"output","Package":"p","Test":"TestFault_resource_oom","Output":"--- SKIP: TestFault_resource_oom (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestFault_resource_oom"}
{"Action":"pass","Package":"p","Test":"TestFault_queue_silent"}
{"Action":"pass","Package":"p","Test":"TestOther"}
{"Action":"pass","Package":"github.com/logtally/tallyprocessor","Test":"TestFault_next_refuses"}
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReport(t *testing.T) {
	figures, err := readFigures(write(t, sampleFigures))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := readOutcomes(write(t, sampleTests))
	if err != nil {
		t.Fatal(err)
	}
	rows := []row{{1, "a", "refuses", ""}, {31, "b", "killed", ""}, {39, "c", "eio", ""}, {42, "d", "power", ""}, {60, "e", "many", "no time"}, {61, "f", "forgotten", ""}}
	summary := []headline{
		{"all kills", []string{"TestFault_kill_load"}},
		{"some", []string{"TestFault_kill_load/kept"}},
		{"power loss", []string{"TestFault_storage_power"}},
		{"missing", []string{"TestFault_kill_load", "TestFault_none"}},
		{"eio", []string{"TestFault_storage_eio"}},
	}
	r := newReport(machine.Facts{CPU: "some CPU"}, figures, outcomes, rows, summary)
	if r.Held != 4 || len(r.Figures) != 5 || r.Automated != 3 {
		t.Errorf("%d of %d held, %d rows automated", r.Held, len(r.Figures), r.Automated)
	}
	if r.Checks, err = readChecks(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.render(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| data races and leaks |", "4 of 5 figures held. 3 of 6 rows", "some CPU", "Measured on 2026-01-02 to 2026-01-03",
		"| all kills | held | 4,000 kills | 3,900 | 0 / 0 of 1,234,567 | noted |", "| some | held | 1,000 kills | 900 | 0 / 0 | noted |",
		"| power loss | loses, as documented | 15 rounds |", "| missing | **not all of it was run** |", "| eio | **failed** |", "`bbbbbbb` 2026-01-03 | – | `go test",
		"| refused counts nothing | held | 5 rounds | 4 | 0 / 0 | – |",
		"| kills | held | 3,000 kills | 3,000 | 0 / 0 of 1,234,567 | 0.1 % |",
		"TALLY_TEST_LONG=1 TALLY_TEST_SEED=7 go test -C e2e -count=1 -timeout 0 -run '^TestFault_kill_load$' .",
		"-run '^TestFault_next_refuses$' .`",
		"| eio | **failed** | 1 round |", "loses, as documented | 15 rounds | 15 | 99 / 0 | – |",
		"| 39 | c | eio | `TestFault_storage_eio` **failed** |",
		"| 60 | e | many | not automated: no time |", "| 61 | f | forgotten | **nothing in this run** |",
		"| `TestFault_resource_oom` | p | skipped | needs a memory cgroup |",
		"| `TestFault_queue_silent` | p | passed, without a figure |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "`TestFault_next_refuses` | github.com") {
		t.Error("what was run again is in the report with its first end")
	}
	if strings.Contains(text.String(), "a claim of before") {
		t.Error("a figure of an earlier run of a test is in the report")
	}
	if strings.Contains(text.String(), "TestOther") {
		t.Error("a test that is not of faults is in the report")
	}
}

// The table is whole: its rows are numbered from 1 to 72.
func TestFaultTable(t *testing.T) {
	rows, err := readRows()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 72 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if r.Number != i+1 || r.Area == "" || r.Fault == "" {
			t.Errorf("row %d is %+v", i+1, r)
		}
	}
}

// Each headline names tests, and each once.
func TestHeadlines(t *testing.T) {
	list, err := readHeadlines()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, h := range list {
		if len(h.Tests) == 0 {
			t.Errorf("%q names no test", h.What)
		}
		for _, test := range h.Tests {
			if seen[test] || !strings.HasPrefix(test, "TestFault_") {
				t.Errorf("%s in %q", test, h.What)
			}
			seen[test] = true
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
