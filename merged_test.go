// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

// A series of several keys goes on when one of them is forgotten: it has every record for as long as it is there.
func TestMergedSeriesNeverFall(t *testing.T) {
	put := []func(r plog.LogRecord){
		func(r plog.LogRecord) { r.Attributes().PutInt("k", 7) },
		func(r plog.LogRecord) { r.Attributes().PutStr("k", "7") },
		func(r plog.LogRecord) { r.Attributes().PutDouble("k", 7) },
		func(r plog.LogRecord) { r.Attributes().PutEmptyBytes("k") },
		func(r plog.LogRecord) { r.Attributes().PutStr("k", "") },
		func(plog.LogRecord) {},
	}
	labels := []string{"k=7,processor=tally", "k=7,processor=tally", "k=7,processor=tally", "processor=tally", "processor=tally", "processor=tally"}
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			page := collectorPage(t)
			p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
forget_after: 1h
logs: {m: {attributes: [{key: k, optional: true}]}}`))
			want := map[string]float64{}
			kinds := random.Perm(len(put))[:3]
			for range 60 {
				kind := kinds[random.IntN(len(kinds))]
				n := random.IntN(5)
				require.NoError(t, p.ConsumeLogs(t.Context(), logs(n, func(_ int, r plog.LogRecord) { put[kind](r) })))
				settle(t, p)
				if n > 0 {
					want[labels[kind]] += float64(n)
				}
				assert.Equal(t, want, page.scrape("m"))
				time.Sleep(time.Duration(random.IntN(40)) * time.Minute)
				synctest.Wait() // for the store to forget what it forgets at this moment
				shown := page.scrape("m")
				for name, value := range want {
					if _, there := shown[name]; !there {
						delete(want, name) // all its keys are forgotten
						continue
					}
					assert.InDelta(t, value, shown[name], 0, name)
				}
			}
		})
	}
}
