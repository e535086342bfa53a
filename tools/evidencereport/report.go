// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/logtally/tallyprocessor/tools/internal/machine"
)

//go:embed reliability.md.tmpl
var reportText string

// report is what the template shows.
type report struct {
	Machine machine.Facts
	Dates   string // of the tests

	Summary []summaryLine
	Figures []figureLine
	Held    int // figures

	Rows      []rowLine
	Automated int // rows

	Checks []check   // besides the faults
	Others []outcome // tests that have failed, were skipped, or have no figure
}

// summaryLine is a line of the summary: a headline, and what its figures come to.
type summaryLine struct{ What, Result, Rounds, Fired, Difference, Notes string }

// figureLine is a line of the table of figures.
type figureLine struct {
	Claim, Rounds, Fired, Difference, Bound, Seed, Result, Command, Note string
	Measured                                                             string // commit and date
}

// rowLine is a line of the fault table.
type rowLine struct {
	Number             int
	Area, Fault, Shown string
}

func newReport(host machine.Facts, figures []figure, outcomes []outcome, rows []row, headlines []headline) *report {
	slices.SortStableFunc(figures, func(a, b figure) int {
		return cmp.Or(cmp.Compare(area(a.Test), area(b.Test)), cmp.Compare(a.Test, b.Test))
	})
	r := &report{Machine: host, Dates: dates(figures)}
	for _, h := range headlines {
		r.Summary = append(r.Summary, summarize(h, figures))
	}
	for _, f := range figures {
		if !f.Failed {
			r.Held++
		}
		r.Figures = append(r.Figures, line(f))
	}
	for _, w := range rows {
		shown, automated := cover(w, figures)
		if automated {
			r.Automated++
		}
		r.Rows = append(r.Rows, rowLine{w.Number, w.Area, w.Fault, shown})
	}
	for _, o := range outcomes {
		hasFigure := slices.ContainsFunc(figures, func(f figure) bool { return f.Package == o.Package && top(f.Test) == o.Test })
		if o.Result != "pass" || !hasFigure {
			r.Others = append(r.Others, o)
		}
	}
	return r
}

// dates returns the first and the last day of the figures.
func dates(figures []figure) string {
	if len(figures) == 0 {
		return "no day"
	}
	byTime := func(a, b figure) int { return a.Began.Compare(b.Began) }
	first := slices.MinFunc(figures, byTime).Began.Format(time.DateOnly)
	last := slices.MaxFunc(figures, byTime).Began.Format(time.DateOnly)
	if first == last {
		return first
	}
	return first + " to " + last
}

// summarize adds up the figures of a headline: rounds by their unit, the rest over all.
func summarize(h headline, figures []figure) summaryLine {
	var units []string
	rounds := map[string]int{}
	var sum figure
	var notes []string
	found := map[string]bool{}
	for _, f := range figures {
		test := f.Test
		if !slices.Contains(h.Tests, test) {
			test = top(test)
		}
		if !slices.Contains(h.Tests, test) {
			continue
		}
		found[test] = true
		unit := cmp.Or(f.Unit, "rounds")
		if !slices.Contains(units, unit) {
			units = append(units, unit)
		}
		rounds[unit] += f.Rounds
		sum.Fired += f.Fired
		sum.Counts += f.Counts
		sum.Lost += f.Lost
		sum.Extra += f.Extra
		sum.Failed = sum.Failed || f.Failed
		if f.Note != "" && !slices.Contains(notes, f.Note) {
			notes = append(notes, f.Note)
		}
	}
	l := summaryLine{What: h.What, Result: result(sum), Fired: thousands(int64(sum.Fired)), Difference: difference(sum), Notes: strings.Join(notes, "; ")}
	for i, unit := range units {
		units[i] = count(rounds[unit], unit)
	}
	l.Rounds = strings.Join(units, ", ")
	if len(found) < len(h.Tests) {
		l.Result = "**not all of it was run**"
	}
	return l
}

// cover says what has shown a row of the fault table, or why nothing has.
func cover(w row, figures []figure) (shown string, automated bool) {
	var tests []string
	for _, f := range figures {
		if !slices.Contains(f.Rows, w.Number) {
			continue
		}
		name := "`" + top(f.Test) + "`"
		if f.Failed {
			name += " **failed**"
		}
		if !slices.Contains(tests, name) {
			tests = append(tests, name)
		}
		automated = automated || !f.Failed
	}
	switch {
	case len(tests) > 0:
		return strings.Join(tests, ", "), automated
	case w.Why != "":
		return "not automated: " + w.Why, false
	default:
		return "**nothing in this run**", false
	}
}

// area returns the area of a test, which its name begins with: TestFault_area_case.
func area(test string) string {
	parts := strings.SplitN(test, "_", 3)
	return parts[min(1, len(parts)-1)]
}

// top returns the name of the test that a test is a part of.
func top(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return name
}

func line(f figure) figureLine {
	l := figureLine{
		Claim:      f.Claim,
		Rounds:     count(f.Rounds, cmp.Or(f.Unit, "rounds")),
		Fired:      thousands(int64(f.Fired)),
		Difference: difference(f),
		Bound:      "–",
		Seed:       "–",
		Result:     result(f),
		Command:    command(f),
		Note:       f.Note,
		Measured:   fmt.Sprintf("`%s` %s", cmp.Or(f.Commit, "unknown"), f.Began.Format(time.DateOnly)),
	}
	if f.Seed != 0 {
		l.Seed = strconv.FormatUint(f.Seed, 10)
	}
	if l.Result == held && f.Rounds >= leastForBound {
		l.Bound = fmt.Sprintf("%.2g %%", 300/float64(f.Rounds))
	}
	return l
}

const held = "held"

func result(f figure) string {
	switch {
	case f.Failed:
		return "**failed**"
	case f.Lost != 0:
		return "loses, as documented"
	default:
		return held
	}
}

// difference returns what was lost and what was extra, in records.
func difference(f figure) string {
	text := thousands(f.Lost) + " / " + thousands(f.Extra)
	if f.Counts > 0 {
		text += " of " + thousands(f.Counts)
	}
	return text
}

// leastForBound is how many rounds a bound takes. With fewer it would say nothing.
const leastForBound = 20

// count returns a number of something, whose name is given in the plural.
func count(n int, unit string) string {
	if n == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return thousands(int64(n)) + " " + unit
}

const module = "github.com/logtally/tallyprocessor"

// nested are the folders of the project that are modules of their own.
var nested = []string{"e2e", "bench"}

// command returns what repeats a figure, from the folder of the project.
func command(f figure) string {
	var c strings.Builder
	if f.Long {
		c.WriteString("TALLY_TEST_LONG=1 ")
	}
	if f.Seed != 0 {
		fmt.Fprintf(&c, "TALLY_TEST_SEED=%d ", f.Seed)
	}
	c.WriteString("go test ")
	folder := "." + strings.TrimPrefix(f.Package, module)
	for _, m := range nested {
		if below, found := strings.CutPrefix(folder, "./"+m); found {
			fmt.Fprintf(&c, "-C %s ", m)
			folder = "." + below
		}
	}
	fmt.Fprintf(&c, "-count=1 -timeout 0 -run '^%s$' %s", top(f.Test), folder)
	return c.String()
}

// thousands returns a number in groups of three digits.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// render writes the report as Markdown.
func (r *report) render(w io.Writer) error {
	t, err := template.New("reliability.md.tmpl").Funcs(template.FuncMap{"cell": cell}).Parse(reportText)
	if err != nil {
		return fmt.Errorf("parse the template: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("fill the template: %w", err)
	}
	return nil
}

// cell makes a text one cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
