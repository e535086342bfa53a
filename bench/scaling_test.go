// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor"
)

// BenchmarkScaling sends batches from as many goroutines as there are cores, each its own. Beside tally it shows what
// the machine itself scales, by goroutines that only look the attribute up.
func BenchmarkScaling(b *testing.B) {
	lookUp := func(ld plog.Logs) {
		found := 0
		for _, rl := range ld.ResourceLogs().All() {
			for _, r := range rl.ScopeLogs().At(0).LogRecords().All() {
				if _, ok := r.Attributes().Get("http.route"); ok {
					found++
				}
			}
		}
		if found != recordsPerBatch {
			panic(found)
		}
	}
	for _, cores := range []int{1, 2} {
		for _, by := range []string{"tally", "walk"} {
			b.Run(fmt.Sprintf("by=%s/cores=%d", by, cores), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				consume := lookUp
				if by == "tally" {
					p := startTally(b, `logs: {c: {attributes: [{key: http.route}]}}`, tallyprocessor.NewMemoryStore())
					consume = func(ld plog.Logs) {
						if err := p.ConsumeLogs(context.Background(), ld); err != nil {
							panic(err)
						}
					}
					b.Cleanup(func() { require.NoError(b, p.Shutdown(context.Background())) })
				}
				logs := shape{batches: cores}.logs(b)
				runtime.GC()
				b.ResetTimer()
				var senders sync.WaitGroup
				for _, ld := range logs {
					senders.Go(func() {
						for range b.N {
							consume(ld)
						}
					})
				}
				senders.Wait()
				b.ReportMetric(float64(cores*b.N*recordsPerBatch)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// On the log path nothing waits for a lock once the keys are known, whoever else sends: what the profiles of mutexes
// and of blocking have of ConsumeLogs is less than a thousandth of the time, which the runtime needs for its own.
func TestNoLockOnTheLogPath(t *testing.T) {
	p := startTally(t, `logs: {c: {attributes: [{key: user.id}]}, all: {}}`, tallyprocessor.NewMemoryStore())
	logs := shape{batches: 2}.logs(t)
	send := func(batches int) {
		var senders sync.WaitGroup
		for _, ld := range logs {
			senders.Go(func() {
				for range batches {
					assert.NoError(t, p.ConsumeLogs(t.Context(), ld))
				}
			})
		}
		senders.Wait()
	}
	send(10) // so that the keys are known
	defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
	runtime.SetBlockProfileRate(1)
	defer runtime.SetBlockProfileRate(0)
	began := time.Now()
	send(500)
	took := time.Since(began)
	for _, profile := range []string{"mutex", "block"} {
		waited := waitedIn(t, profile, "logsProcessor).ConsumeLogs")
		t.Logf("%s: %v of %v", profile, waited, took)
		assert.Less(t, waited, took/1000, profile)
	}
	require.NoError(t, p.Shutdown(t.Context()))
}

// waitedIn returns how long a function has waited, as a profile of contention has it.
func waitedIn(t *testing.T, profile, function string) time.Duration {
	var text strings.Builder
	require.NoError(t, pprof.Lookup(profile).WriteTo(&text, 1))
	header, samples, found := strings.Cut(text.String(), "\n\n")
	if !found {
		header, samples = text.String(), ""
	}
	var cyclesPerSecond, sum float64
	for line := range strings.Lines(header) {
		_, _ = fmt.Sscanf(line, "cycles/second=%g", &cyclesPerSecond)
	}
	require.Positive(t, cyclesPerSecond, "the format of the profile has changed: %s", header)
	for sample := range strings.SplitSeq(header+"\n\n"+samples, "\n\n") {
		if !strings.Contains(sample, function) {
			continue
		}
		for line := range strings.Lines(sample) {
			var cycles, count float64
			if n, _ := fmt.Sscanf(line, "%g %g @", &cycles, &count); n == 2 {
				sum += cycles
			}
		}
	}
	return time.Duration(sum / cyclesPerSecond * float64(time.Second))
}
