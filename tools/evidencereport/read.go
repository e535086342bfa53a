// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure is an entry of internal/evidence, which this module does not import.
type figure struct {
	Test    string `json:"test"`
	Package string `json:"package"`
	Rows    []int  `json:"rows"`
	Claim   string `json:"claim"`
	Seed    uint64 `json:"seed"`
	Rounds  int    `json:"rounds"`
	Unit    string `json:"unit"`
	Fired   int    `json:"fired"`
	Counts  int64  `json:"counts"`
	Lost    int64  `json:"lost"`
	Extra   int64  `json:"extra"`
	Loses   bool   `json:"loses"`
	Note    string `json:"note"`
	Failed  bool   `json:"failed"`
	Long    bool   `json:"long"`
	Commit  string `json:"commit"`

	Began time.Time `json:"began"` // its process
}

// readFigures returns the figures of a file, those of the last run of a test where it was run again.
func readFigures(path string) ([]figure, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the figures: %w", err)
	}
	defer file.Close()
	var all []figure
	for decoder := json.NewDecoder(file); ; {
		var f figure
		switch err := decoder.Decode(&f); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the figures: %w", err)
		}
		all = slices.DeleteFunc(all, func(old figure) bool {
			return old.Package == f.Package && top(old.Test) == top(f.Test) && old.Began.Before(f.Began)
		})
		all = append(all, f)
	}
}

// outcome is how a fault test has ended.
type outcome struct {
	Package, Test string
	Result        string // pass, fail or skip
	Reason        string // of a skip
}

// readOutcomes returns how each fault test has ended that is not part of another, from the output of go test -json; the
// last end where a test was run again.
func readOutcomes(path string) ([]outcome, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the outcomes of the tests: %w", err)
	}
	defer file.Close()
	var all []outcome
	last := map[string]string{} // line of output, by test
	for decoder := json.NewDecoder(file); ; {
		var event struct{ Action, Package, Test, Output string }
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the outcomes of the tests: %w", err)
		}
		if !strings.HasPrefix(event.Test, "TestFault_") || strings.Contains(event.Test, "/") {
			continue
		}
		id := event.Package + "." + event.Test
		if event.Action == "run" {
			all = slices.DeleteFunc(all, func(o outcome) bool { return o.Package == event.Package && o.Test == event.Test })
		}
		switch event.Action {
		case "output":
			if line := strings.TrimSpace(event.Output); !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
				last[id] = line
			}
		case "pass", "fail":
			all = append(all, outcome{event.Package, event.Test, event.Action, ""})
		case "skip":
			_, reason, _ := strings.Cut(last[id], ": ") // behind file and line
			all = append(all, outcome{event.Package, event.Test, event.Action, reason})
		}
	}
}

//go:embed faults.tsv
var faults string

// row is one of the fault table.
type row struct {
	Number      int
	Area, Fault string
	Why         string // it is not automated; empty = it shall be
}

func readRows() ([]row, error) {
	records, err := readTable(faults)
	if err != nil {
		return nil, fmt.Errorf("read the fault table: %w", err)
	}
	var rows []row
	for _, r := range records {
		n, err := strconv.Atoi(r[0])
		if err != nil {
			return nil, fmt.Errorf("read the fault table: %w", err)
		}
		rows = append(rows, row{n, r[1], r[2], r[3]})
	}
	return rows, nil
}

//go:embed headlines.tsv
var headlines string

// headline is a line of the summary: what it is about, and the tests that have shown it.
type headline struct {
	What  string
	Tests []string
}

func readHeadlines() ([]headline, error) {
	records, err := readTable(headlines)
	if err != nil {
		return nil, fmt.Errorf("read the headlines: %w", err)
	}
	var list []headline
	for _, r := range records {
		list = append(list, headline{r[0], strings.Fields(r[1])})
	}
	return list, nil
}

//go:embed checks.tsv
var checks string

// check is what was measured besides the faults, by hand: it takes longer than all of them.
type check struct{ What, Figure, Command, Date string }

func readChecks() ([]check, error) {
	records, err := readTable(checks)
	if err != nil {
		return nil, fmt.Errorf("read the checks: %w", err)
	}
	var list []check
	for _, r := range records {
		list = append(list, check{r[0], r[1], r[2], r[3]})
	}
	return list, nil
}

// readTable reads a table of columns that are separated by tabs, but for its first line.
func readTable(text string) ([][]string, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma = '\t'
	reader.LazyQuotes = true
	records, err := reader.ReadAll()
	if err != nil {
		return nil, err
	}
	return records[1:], nil
}
