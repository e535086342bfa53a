// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// kinds are values that are one for Prometheus, and none.
var kinds = [][]string{{`200`, `"200"`, `200.0`}, {`true`, `"true"`}, {`""`}}

// Keys of which any number are one series, as those that a sender makes who changes the kinds of values, are their
// sums, and the page is there before anybody gives up waiting.
func TestManyKeysOfOneSeries(t *testing.T) {
	r := evidence.Random(evidence.Seed(t))
	for range evidence.Rounds(1, 50) {
		const rows = 100_000
		b := table.NewBuilder(0)
		b.Begin()
		want := map[string]float64{}
		groups := 1 + r.IntN(3)
		for i := range rows {
			group := r.IntN(groups)
			b.Add(keyOf(r, group, i), 1, epoch, epoch)
			want[fmt.Sprintf(`m_total{a="200",b="true",g="%d"}`, group)]++
		}
		got := page(t, text, false, Family{Metric: b.End(epoch, true).Metrics["m"]})
		for series, sum := range want {
			assert.Contains(t, got, fmt.Sprintf("%s %v\n", series, sum))
		}
		require.Equal(t, len(want), strings.Count(got, "\nm_total{"))
	}
}

// keyOf returns the key of a number, which is in no value that is shown.
func keyOf(r *rand.Rand, group, number int) string {
	one := func(kind int) string { return kinds[kind][r.IntN(len(kinds[kind]))] }
	return fmt.Sprintf(`["m",{},{"a":%s,"b":%s,"e%06d":%s,"g":%d}]`, one(0), one(1), number, one(2), group)
}
