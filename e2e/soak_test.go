// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// endurance returns for how long a test of endurance lasts: for an hour when the long rounds are asked for, else for a
// short time; the variable TALLY_TEST_SOAK sets another one.
func endurance(t *testing.T, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("TALLY_TEST_SOAK")
	if text == "" && evidence.Long() {
		return time.Hour
	}
	if text == "" {
		return short
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// TestFault_resource_soak runs a Collector under load and mixed faults: a next consumer that fails at times, reloads,
// stops, keys without end. In the end the totals are exact, and goroutines, descriptors and heap are where they were.
func TestFault_resource_soak(t *testing.T) {
	t.Parallel()
	lasts, seed := endurance(t, 10*time.Second), evidence.Seed(t)
	random := evidence.Random(seed)
	r := newRig(t)
	r.durable = true
	profiles := freePort(t)
	config := strings.Replace(r.config(), "extensions:\n", fmt.Sprintf("extensions:\n  pprof: {endpoint: 127.0.0.1:%d}\n", profiles), 1)
	config = strings.Replace(config, "extensions: [", "extensions: [pprof, ", 1)
	path := t.TempDir() + "/config.yaml"
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	c := startCollector(t, "", path)
	idle := ownGoroutines(t, profiles)
	ledgers := newLedgers(4)
	stop := clients(t, r.in, ledgers, 2*time.Millisecond)

	var samples []sample
	faults := map[string]int{}
	step := max(lasts/200, 50*time.Millisecond)
	for began := time.Now(); time.Since(began) < lasts; time.Sleep(step) {
		disturb(t, c, r, random, faults)
		if s, ok := c.sample(profiles); ok {
			s.at = time.Since(began)
			samples = append(samples, s)
		}
		require.False(t, c.hasExited())
	}
	r.next.with(func() { r.next.decide = nil })
	before := r.next.sum()
	waitFor(t, "logs to pass in the end", func() bool { return r.next.sum() > before })
	stop()
	waitFor(t, "tally's own goroutines to be as many as in the beginning", func() bool { return ownGoroutines(t, profiles) == idle })
	require.Zero(t, c.terminate(t))

	counts := int64(0)
	totals := readState(t, r.directory)
	for who, total := range totals {
		if who != "" {
			require.LessOrEqual(t, total, r.next.of(who), who)
		}
		counts += int64(total)
	}
	late := samples[len(samples)/4:] // after it has warmed up
	require.Greater(t, len(late), 10)
	goroutines, descriptors, heap := slopes(late)
	growth := "" // a slope means nothing for a short time: exporters that were replaced leave idle connections for 90 s
	if lasts >= 5*time.Minute {
		assert.Less(t, goroutines*lasts.Hours(), 50.0, "goroutines")
		assert.Less(t, descriptors*lasts.Hours(), 50.0, "descriptors")
		growth = fmt.Sprintf("; slopes per hour: goroutines %+.1f, descriptors %+.1f, heap %+.2f MB", goroutines, descriptors, heap/1e6)
	}
	fired := 0
	for _, n := range faults {
		fired += n
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{72}, Claim: "a soak under mixed load and faults: counted = accepted by the next consumer, and nothing grows",
		Seed: seed, Rounds: int(lasts.Seconds()), Unit: "seconds", Fired: fired, Counts: counts,
		Lost: max(0, int64(r.next.sum())-counts), Extra: max(0, counts-int64(r.next.sum())),
		Note: fmt.Sprintf("%v; in the end %d goroutines, %d descriptors, heap %.1f MB; %d goroutines of tally before and after%s",
			faults, late[len(late)-1].goroutines, late[len(late)-1].descriptors, late[len(late)-1].heap/1e6, idle, growth),
	})
}

// disturb does one of several things to a Collector.
func disturb(t *testing.T, c *collector, r *rig, random *rand.Rand, faults map[string]int) {
	t.Helper()
	switch random.IntN(10) {
	case 0:
		faults["reloads"]++
		c.signal(t, syscall.SIGHUP)
	case 1:
		faults["stops"]++
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
	case 2:
		faults["storms"]++
		r.next.failing(0.7, rand.New(rand.NewPCG(random.Uint64(), 0)))
	case 3, 4:
		r.next.with(func() { r.next.decide = nil })
	case 5, 6:
		faults["floods"]++
		post(r.in, marshal(t, logsWith(sender, names(newLedgers(100), random.IntN(1_000_000)))))
	}
}

// sample is how large a Collector is at a moment.
type sample struct {
	at                      time.Duration
	goroutines, descriptors int
	heap                    float64
}

var (
	goroutineTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapAlloc      = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// sample asks a Collector for its size, which it may be too busy to tell.
func (c *collector) sample(port int) (s sample, ok bool) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	if err != nil {
		return s, false
	}
	s.descriptors = len(entries)
	goroutines, heap := profile(port, "goroutine?debug=1", goroutineTotal), profile(port, "heap?debug=1&gc=1", heapAlloc)
	s.goroutines, s.heap = int(goroutines), heap
	return s, goroutines > 0 && heap > 0
}

// ownGoroutines returns how many goroutines have a function of tally on their stack.
func ownGoroutines(t *testing.T, port int) int {
	t.Helper()
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=2", port))
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	n := 0
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		if strings.Contains(stack, "github.com/logtally/") {
			n++
		}
	}
	return n
}

func profile(port int, name string, number *regexp.Regexp) float64 {
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/%s", port, name))
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	found := number.FindSubmatch(text)
	if err != nil || found == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(found[1]), 64) // they are digits
	return n
}

// slopes returns what grows by how much in an hour, by least squares.
func slopes(samples []sample) (goroutines, descriptors, heap float64) {
	slope := func(value func(sample) float64) float64 {
		var n, sx, sy, sxx, sxy float64
		for _, s := range samples {
			x, y := s.at.Hours(), value(s)
			n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
		}
		return (n*sxy - sx*sy) / (n*sxx - sx*sx)
	}
	return slope(func(s sample) float64 { return float64(s.goroutines) }),
		slope(func(s sample) float64 { return float64(s.descriptors) }),
		slope(func(s sample) float64 { return s.heap })
}
