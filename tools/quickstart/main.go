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

const pollInterval = 250 * time.Millisecond

func main() {
	collector := flag.String("collector", "dist/otelcol-tally", "path of the Collector")
	config := flag.String("config", "examples/quickstart.yaml", "its configuration")
	console := flag.String("console", "http://localhost:55690", "where its console is")
	flag.Parse()
	if err := run(*collector, *config, *console); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(collector, config, console string) error {
	restore := takeTerminal()
	defer restore()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cmd := exec.Command(collector, "--config", config)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals reach it through us alone, once
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the Collector: %w", err)
	}
	fmt.Printf("Started %s with %s; look at the totals on %s, Ctrl-C ends it.\n", collector, config, console)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return watch(cmd.Process, console+"/metrics", exited, signals)
}

// watch prints the totals whenever they have changed and then been the same for one poll, until the Collector exits.
func watch(process *os.Process, metrics string, exited <-chan error, signals <-chan os.Signal) error {
	var seen, printed string
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-exited:
			if err != nil {
				return fmt.Errorf("the Collector has failed: %w", err)
			}
			fmt.Println("The Collector has drained and ended.")
			return nil
		case s := <-signals:
			if err := process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("signal the Collector: %w", err)
			}
		case <-tick.C:
			families, err := scrape(metrics)
			if err != nil {
				continue // it is starting or ending
			}
			table := render(families)
			if table != "" && table == seen && table != printed {
				fmt.Printf("\n%s  totals at %s\n%s", strings.Repeat("-", 20), time.Now().Format(time.TimeOnly), table)
				printed = table
			}
			seen = table
		}
	}
}

func scrape(url string) (map[string]*dto.MetricFamily, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
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
