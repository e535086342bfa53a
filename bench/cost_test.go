// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
)

// contestant counts logs in one way.
type contestant struct {
	name string
	// start returns what counts the records of a batch, and what returns when all is counted; nil if the contestant
	// does not take part in the workload.
	start func(b *testing.B, w workload) *running
}

// running is a contestant that was started.
type running struct {
	consume func(plog.Logs)
	settle  func() // returns when what was consumed is counted, nearly
	drain   func() // returns when all is counted; nothing can be consumed any more
}

func nothing() {}

// contestants in the order in which the report shows them.
var contestants = []contestant{
	{"by-hand", func(_ *testing.B, w workload) *running {
		if w.byHand == nil {
			return nil
		}
		return &running{w.byHand(), nothing, nothing}
	}},
	{"tally", func(b *testing.B, w workload) *running {
		store := tallyprocessor.NewMemoryStore()
		p := startTally(b, w.tally, store)
		r := drive(b, p, p.ConsumeLogs)
		r.settle = func() { settle(store) }
		return r
	}},
	{"count", func(b *testing.B, w workload) *running {
		yaml := w.count
		if yaml == "" {
			yaml = w.tally
		}
		c := startConnector(b, countconnector.NewFactory(), yaml, consumertest.NewNop())
		return drive(b, c, c.ConsumeLogs)
	}},
	{"signal_to_metrics", func(b *testing.B, w workload) *running {
		if w.s2m == "" {
			return nil
		}
		c := startConnector(b, signaltometricsconnector.NewFactory(), w.s2m, consumertest.NewNop())
		return drive(b, c, c.ConsumeLogs)
	}},
}

// drive returns how a started component is used.
func drive(b *testing.B, c component.Component, consume func(context.Context, plog.Logs) error) *running {
	ctx := context.Background()
	return &running{
		consume: func(ld plog.Logs) {
			if err := consume(ctx, ld); err != nil {
				b.Fatal(err)
			}
		},
		settle: nothing,
		drain:  func() { require.NoError(b, c.Shutdown(ctx)) },
	}
}

// settle returns when the totals of a store do not grow any more.
func settle(store store.Lister) {
	for before := -1; ; {
		sum := 0
		for total, err := range store.Totals(context.Background()) {
			if err != nil {
				panic(err)
			}
			sum += total.Value
		}
		if sum == before {
			return
		}
		before = sum
		time.Sleep(20 * time.Millisecond)
	}
}

// BenchmarkCount counts each workload with each contestant. One operation is one batch, and all batches are the same
// few over and over, so keys are known; cpu-ns/record is the figure to read: what the whole process has spent, on all
// its threads, until all was counted.
func BenchmarkCount(b *testing.B) {
	for _, w := range workloads {
		fmt.Printf("workload-%s: %s\n", w.name, w.what) // for the report
		var logs []plog.Logs
		for _, c := range contestants {
			if logs == nil {
				logs = w.logs(b)
			}
			b.Run("workload="+w.name+"/by="+c.name, func(b *testing.B) {
				r := c.start(b, w)
				if r == nil {
					b.Skip("takes no part")
				}
				for _, ld := range logs {
					r.consume(ld) // so that every key was seen
				}
				if w.warm != nil {
					for _, ld := range w.warm(b) {
						r.consume(ld)
					}
				}
				r.settle()
				runtime.GC()
				b.ReportAllocs()
				before, records := cpuTime(), 0
				for i := 0; b.Loop(); i++ {
					ld := logs[i%len(logs)]
					r.consume(ld)
					records += ld.LogRecordCount()
				}
				r.drain()
				spent := cpuTime() - before
				b.ReportMetric(float64(spent)/float64(records), "cpu-ns/record")
			})
		}
	}
}

// cpuTime returns what the process has used so far, in user and in kernel mode.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
