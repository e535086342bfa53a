// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// A series of several keys was created when the first of them was, in whichever order a store lists them.
func TestCreatedIsTheEarliest(t *testing.T) {
	keys := []string{`["m",{},{"a":7}]`, `["m",{},{"a":"7"}]`, `["m",{},{"a":7.0}]`, `["m",{},{"a":"7","b":""}]`}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := table.NewBuilder(10)
		b.Begin()
		earliest := 101
		for _, i := range r.Perm(len(keys))[:1+r.IntN(len(keys))] {
			start := 1 + r.IntN(100)
			earliest = min(earliest, start)
			b.Add(keys[i], 1, time.Unix(int64(start), 0), time.Unix(100, 0))
		}
		text := page(t, openMetrics, true, Family{b.End(time.Unix(100, 0), true).Metrics["m"], "", ""})
		_, rest, found := strings.Cut(text, `m_created{a="7"} `)
		require.True(t, found, text)
		line, _, _ := strings.Cut(rest, "\n")
		created, err := strconv.ParseFloat(line, 64)
		require.NoError(t, err)
		assert.InDelta(t, earliest, created, 0, "seed %d", seed)
	}
	b := table.NewBuilder(10)
	b.Begin()
	b.Add(keys[0], 1, time.Time{}, time.Time{})
	text := page(t, openMetrics, true, Family{b.End(time.Unix(100, 0), true).Metrics["m"], "", ""})
	assert.NotContains(t, text, "_created", "it is not known")
}
