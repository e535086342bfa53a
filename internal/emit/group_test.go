// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// anyKey returns one of some hundred keys, of which some share a metric, some a resource, and some all labels.
func anyKey(r *rand.Rand) serieskey.Key {
	texts := []string{"", "a", "a\"", "é", "\\", "a,", "7", "{"}
	value := func() serieskey.Value {
		if r.IntN(3) == 0 {
			return serieskey.IntValue(int64(r.IntN(9)))
		}
		return serieskey.StringValue(texts[r.IntN(len(texts))])
	}
	k := serieskey.Key{Metric: []string{"m", "m.more", "m\"", "n"}[r.IntN(4)]}
	for _, name := range []string{"r", "s\""} {
		if r.IntN(2) == 0 {
			k.Resource = append(k.Resource, serieskey.Attribute{Name: name, Value: value()})
		}
	}
	if r.IntN(2) == 0 {
		k.Attributes = []serieskey.Attribute{{Name: "a", Value: value()}}
	}
	return k
}

// Whatever comes, goes, comes back and is refused, series are sent in one order, each under a key that the store has or
// had, and a series that is gone leaves nothing behind.
func TestOrder(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 21))
		e := New(Settings{Since: at(0)})
		collide(e, seed)
		held := map[string]store.Total{}
		known := map[string]bool{}
		next, _ := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error {
			if r.IntN(4) == 0 {
				return assert.AnError
			}
			return nil
		})
		for round := range 15 {
			for range r.IntN(20) {
				key := anyKey(r).String()
				held[key] = total(key, held[key].Value+1, 10*round+1)
				known[key] = true
			}
			var list []store.Total
			for _, one := range held {
				list = append(list, one)
			}
			c, err := e.Collect(totals(list...), nil, at(10*round+10))
			require.NoError(t, err)
			require.True(t, slices.IsSortedFunc(c.points, func(a, b *series) int {
				return cmp.Or(cmp.Compare(resourceOf(t, a.text), resourceOf(t, b.text)), cmp.Compare(a.text, b.text))
			}))
			for _, p := range c.points {
				require.True(t, known[p.text])
				require.Same(t, e.groups[p.group.start], p.group)
			}
			_ = c.Send(t.Context(), next)
			for key := range held {
				if r.IntN(5) == 0 {
					delete(held, key)
				}
			}
		}
		for n := range 50 {
			c, err := e.Collect(totals(), nil, at(1000+n))
			require.NoError(t, err)
			_ = c.Send(t.Context(), next)
		}
		assert.Zero(t, e.series.Len())
		assert.Zero(t, e.byLabels.len())
		assert.Empty(t, e.groups)
		assert.Empty(t, e.order)
	}
}

func resourceOf(t *testing.T, text string) string {
	t.Helper()
	k, err := serieskey.Decode(text)
	require.NoError(t, err)
	return serieskey.Key{Resource: k.Resource}.String()
}

// A collection takes what it sends, not what it knows: no payload is made before its turn.
func TestAllocCollecting(t *testing.T) {
	e := New(Settings{Since: at(0)})
	var list []store.Total
	for i := range 5000 {
		list = append(list, total(fmt.Sprintf(`["m",{"s":%d},{"a":%d}]`, i%7, i), 1, 1))
	}
	emit(t, e, 10, list...)
	collect := totals(list...)
	assert.Less(t, testing.AllocsPerRun(10, func() {
		c, err := e.Collect(collect, nil, at(20))
		require.NoError(t, err)
		require.Equal(t, len(list), c.Len())
	}), 10.0)
}
