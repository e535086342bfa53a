// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Quickstart starts a Collector, prints the totals that its console shows whenever they have changed, and
// ends when the Collector does. Ctrl-C ends the Collector, which drains first.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"
)

const (
	pollInterval = 250 * time.Millisecond
	// quiet is how long nothing is said of a console that does not answer; patience, how long it is waited for.
	quiet    = 5 * time.Second
	patience = time.Minute
)

func main() {
	collector := flag.String("collector", "dist/otelcol-tally", "path of the Collector")
	config := flag.String("config", "examples/quickstart.yaml", "its configuration")
	console := flag.String("console", "", "URL of its console; empty = as the configuration has it")
	flag.Parse()
	if err := run(*collector, *config, *console); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(collector, path, console string) error {
	config, err := readConfig(path)
	if err != nil {
		return err
	}
	if console == "" {
		if console, err = consoleURL(path, config); err != nil {
			return err
		}
	}
	if err := checkFree(path, addresses(config)); err != nil {
		return err
	}
	restore := takeTerminal()
	defer restore()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cmd := exec.Command(collector, "--config", path)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals reach it through us alone, once
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the Collector: %w", err)
	}
	fmt.Printf("Started %s with %s; look at the totals on %s, Ctrl-C ends it.\n", collector, path, console)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	w := watcher{url: console, process: cmd.Process, exited: exited, signals: signals}
	w.scrape = func() (string, error) { return scrape(console + "/metrics") }
	return w.watch()
}

// watcher prints the totals of a Collector.
type watcher struct {
	url     string
	process *os.Process
	exited  <-chan error
	signals <-chan os.Signal
	scrape  func() (table string, err error)

	seen, printed string
	answered      bool
	said          bool // that the console is waited for
}

// watch prints the totals whenever they have changed and then been the same for one poll, until the Collector exits. If
// the console never answers it ends the Collector.
func (w *watcher) watch() error {
	began := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-w.exited:
			if err != nil {
				return fmt.Errorf("the Collector has failed: %w; its last lines say why", err)
			}
			fmt.Println("The Collector has drained and ended.")
			return nil
		case s := <-w.signals:
			if err := w.signal(s); err != nil {
				return err
			}
		case <-tick.C:
			if err := w.poll(time.Since(began)); err != nil {
				return errors.Join(err, w.signal(syscall.SIGTERM), <-w.exited)
			}
		}
	}
}

func (w *watcher) signal(s os.Signal) error {
	if err := w.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the Collector: %w", err)
	}
	return nil
}

// poll prints the totals if they are new. Its error is that of a console that has not answered for too long since the
// start.
func (w *watcher) poll(waited time.Duration) error {
	table, err := w.scrape()
	switch {
	case err == nil:
		w.answered = true
		w.show(table)
	case w.answered: // it is ending
	case waited >= patience:
		return fmt.Errorf("the console at %s does not answer: %w", w.url, err)
	case waited >= quiet && !w.said:
		w.said = true
		fmt.Printf("Waiting for the console at %s: %v\n", w.url, err)
	}
	return nil
}

func (w *watcher) show(table string) {
	if table != "" && table == w.seen && table != w.printed {
		fmt.Printf("\n%s  totals at %s\n%s", strings.Repeat("-", 20), time.Now().Format(time.TimeOnly), table)
		w.printed = table
	}
	w.seen = table
}

// scrape returns what a page of metrics has, as a table.
func scrape(url string) (table string, err error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s", url, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	return render(families), err
}

// render returns the totals as a table: the counters, which are all but the console's own numbers.
func render(families map[string]*dto.MetricFamily) string {
	type row struct {
		metric, labels string
		total          float64
	}
	var rows []row
	for name, family := range families {
		if family.GetType() != dto.MetricType_COUNTER {
			continue
		}
		for _, m := range family.GetMetric() {
			rows = append(rows, row{name, labelText(m), m.GetCounter().GetValue()})
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		if c := strings.Compare(a.metric, b.metric); c != 0 {
			return c
		}
		if a.total != b.total {
			return int(b.total - a.total)
		}
		return strings.Compare(a.labels, b.labels)
	})
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintf(w, "METRIC\t%10s\tLABELS\n", "TOTAL")
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%10.0f\t%s\n", r.metric, r.total, r.labels)
	}
	w.Flush()
	return text.String()
}

// labelText returns the labels as name=value.
func labelText(m *dto.Metric) string {
	var parts []string
	for _, l := range m.GetLabel() {
		parts = append(parts, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
	}
	return strings.Join(parts, "  ")
}

// takeTerminal makes this process the only one that Ctrl-C reaches, so that `make`, which has started it, ends with its
// exit code and not with the signal. It returns what gives the terminal back. Without a terminal it does nothing.
func takeTerminal() (restore func()) {
	stdin := int(os.Stdin.Fd())
	owner, err := unix.IoctlGetInt(stdin, unix.TIOCGPGRP)
	if err != nil || owner != unix.Getpgrp() {
		return func() {}
	}
	signal.Ignore(syscall.SIGTTOU) // else the terminal stops whoever gives it away
	if err := unix.Setpgid(0, 0); err != nil {
		return func() {}
	}
	if err := unix.IoctlSetPointerInt(stdin, unix.TIOCSPGRP, unix.Getpid()); err != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetPointerInt(stdin, unix.TIOCSPGRP, owner) } // the shell does it anyway
}
