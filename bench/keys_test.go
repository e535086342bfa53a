// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
)

// byUser counts by one attribute, without a limit.
const byUser = `logs: {c: {cardinality_limit: 0, attributes: [{key: user.id}]}}`

// users returns batches of n records in all, of one resource, with one attribute each.
func users(t testing.TB, n int, user func(i int) int) []plog.Logs {
	var list []plog.Logs
	for from := 0; from < n; from += recordsPerBatch {
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", "checkout")
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := from; i < min(from+recordsPerBatch, n); i++ {
			records.AppendEmpty().Attributes().PutStr("user.id", fmt.Sprintf("user-%08d", user(i)))
		}
		list = append(list, received(t, ld))
	}
	return list
}

// startTally starts the processor with a store.
func startTally(t testing.TB, yaml string, store store.MetricStore) processor.Logs {
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(store))
	cfg := configure[*tallyprocessor.Config](t, factory, yaml)
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	return p
}

// keysPerBatch is how many keys a batch of BenchmarkKeys has.
const keysPerBatch = 1000

// filled is a processor that has counted a number of keys.
type filled struct {
	processor.Logs
	batches []plog.Logs // of keys that it has, at random
}

var (
	filledMu sync.Mutex
	filledBy = map[int]*filled{} // by number of keys: filling one takes longer than measuring it
)

func fill(b *testing.B, keys int) *filled {
	filledMu.Lock()
	defer filledMu.Unlock()
	if f := filledBy[keys]; f != nil {
		return f
	}
	f := &filled{Logs: startTally(b, byUser, tallyprocessor.NewMemoryStore())}
	const atOnce = 100 * recordsPerBatch
	for from := 0; from < keys; from += atOnce {
		for _, ld := range users(b, min(atOnce, keys-from), func(i int) int { return from + i }) {
			require.NoError(b, f.ConsumeLogs(context.Background(), ld))
		}
	}
	random := rand.New(rand.NewPCG(1, uint64(keys)))
	chosen := make([]int, 16*keysPerBatch)
	for i := range chosen {
		chosen[i] = random.IntN(keys)
	}
	f.batches = users(b, 16*recordsPerBatch, func(i int) int {
		return chosen[i/recordsPerBatch*keysPerBatch+i%keysPerBatch]
	})
	filledBy[keys] = f
	runtime.GC()
	return f
}

// BenchmarkKeys counts records of which each batch has 1000 keys, drawn from those that the store holds, each as likely
// as any other. What it costs more with more keys are the misses of the CPU's caches: nothing is looked for longer.
func BenchmarkKeys(b *testing.B) {
	for _, keys := range []int{10, 1000, 100_000, 1_000_000, 10_000_000} {
		b.Run("keys="+strconv.Itoa(keys), func(b *testing.B) {
			f := fill(b, keys)
			before, records := cpuTime(), 0
			for i := 0; b.Loop(); i++ {
				ld := f.batches[i%len(f.batches)]
				require.NoError(b, f.ConsumeLogs(context.Background(), ld))
				records += ld.LogRecordCount()
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(records), "cpu-ns/record")
		})
	}
}
