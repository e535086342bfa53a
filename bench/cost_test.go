package bench

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
)

// contestant counts logs in one way.
type contestant struct {
	name string
	// start returns what counts the records of a batch, and what returns when all is counted; nil if the contestant does
	// not take part in the workload.
	start func(b *testing.B, w workload) (consume func(plog.Logs), drain func())
}

// contestants in the order in which the report shows them.
var contestants = []contestant{
	{"by-hand", func(_ *testing.B, w workload) (func(plog.Logs), func()) {
		if w.byHand == nil {
			return nil, nil
		}
		return w.byHand(), func() {}
	}},
	{"tally", func(b *testing.B, w workload) (func(plog.Logs), func()) {
		factory := tallyprocessor.NewFactory()
		cfg := configure[*tallyprocessor.Config](b, factory, w.tally)
		p, err := factory.CreateLogs(b.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
		require.NoError(b, err)
		return drive(b, p, p.ConsumeLogs)
	}},
	{"count", func(b *testing.B, w workload) (func(plog.Logs), func()) {
		yaml := w.count
		if yaml == "" {
			yaml = w.tally
		}
		c := startConnector(b, countconnector.NewFactory(), yaml, consumertest.NewNop())
		return drive(b, c, c.ConsumeLogs)
	}},
	{"signal_to_metrics", func(b *testing.B, w workload) (func(plog.Logs), func()) {
		if w.s2m == "" {
			return nil, nil
		}
		c := startConnector(b, signaltometricsconnector.NewFactory(), w.s2m, consumertest.NewNop())
		return drive(b, c, c.ConsumeLogs)
	}},
}

// drive starts a component and returns how it is used.
func drive(b *testing.B, c component.Component, consume func(context.Context, plog.Logs) error) (func(plog.Logs), func()) {
	ctx := context.Background()
	require.NoError(b, c.Start(ctx, componenttest.NewNopHost()))
	return func(ld plog.Logs) {
			if err := consume(ctx, ld); err != nil {
				b.Fatal(err)
			}
		}, func() {
			require.NoError(b, c.Shutdown(ctx))
		}
}

// BenchmarkCount counts each workload with each contestant. One operation is one batch, and all batches are the same few
// over and over, so keys are known; cpu-ns/record is the figure to read: what the whole process has spent, on all its
// threads, until all was counted.
func BenchmarkCount(b *testing.B) {
	for _, w := range workloads {
		var logs []plog.Logs
		for _, c := range contestants {
			if logs == nil {
				logs = w.logs(b)
			}
			b.Run("workload="+w.name+"/by="+c.name, func(b *testing.B) {
				consume, drain := c.start(b, w)
				if consume == nil {
					b.Skip("takes no part")
				}
				for _, ld := range logs {
					consume(ld) // so that every key was seen
				}
				runtime.GC()
				b.ReportAllocs()
				before, records := cpuTime(), 0
				for i := 0; b.Loop(); i++ {
					ld := logs[i%len(logs)]
					consume(ld)
					records += ld.LogRecordCount()
				}
				drain()
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
