// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/memory"
)

// costly are the functions whose time grows with the keys of a metric, and placed are those that call them in a place
// of max_concurrent_queries.
var (
	costly = []string{"/internal/query.Run(", "/internal/table.(*Metric).Distinct(", "/internal/exposition.(*seriesSet).merge("}
	placed = []string{".(*executor).work(", ".(*handler).scrape("}
)

// working returns how many goroutines are in costly functions, and how many of those have no place.
func working() (all, outside int) {
	stacks := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if !isIn(stack, costly) {
			continue
		}
		all++
		if !isIn(stack, placed) {
			outside++
		}
	}
	return all, outside
}

func isIn(stack string, functions []string) bool {
	for _, f := range functions {
		if strings.Contains(stack, "/tallyconsole"+f) {
			return true
		}
	}
	return false
}

// Whatever is asked, and by however many at once, no more goroutines look through keys than max_concurrent_queries
// says.
func TestWorkIsBounded(t *testing.T) {
	store := memory.New()
	for i := range 20_000 {
		store.Add(fmt.Sprintf(`["m",{"host":%d},{"a":%d,"b":%d,"c":%d,"user":%d}]`, i%7, i%11, i%100, i%1000, i), 1)
	}
	const limit = 2
	r := start(t, store, func(c *Config) { c.MaxConcurrentQueries, c.QueryTimeout = limit, patience })
	paths := []string{"/api/v1/metrics", "/api/v1/totals?metric=m&order=key", "/metrics", "/api/v1/totals?metric=m&group_by=user&group_by=c", "/api/v1/health"}
	var asking sync.WaitGroup
	var left atomic.Int64
	for range 5 {
		left.Add(1)
		asking.Go(func() {
			defer left.Add(-1)
			for range 4 {
				r.get(t, paths[rand.IntN(len(paths))])
				r.get(t, "/api/v1/metrics")
			}
		})
	}
	most, seen := 0, 0
	for left.Load() > 0 {
		all, outside := working()
		assert.Zero(t, outside)
		most, seen = max(most, all), seen+all
		time.Sleep(100 * time.Microsecond) // real time
	}
	asking.Wait()
	assert.LessOrEqual(t, most, limit)
	assert.Positive(t, seen, "the test sees the work")
}
