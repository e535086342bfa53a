// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
)

var epoch = time.Unix(1_700_000_000, 0)

// one is a total as a test has it.
type one struct {
	key   string
	value int
	start time.Time
}

// sample runs one sample over totals; each was last counted at now.
func sample(b *Builder, now time.Time, complete bool, totals ...one) *Snapshot {
	b.Begin()
	for _, t := range totals {
		b.Add(t.key, t.value, t.start, now)
	}
	return b.End(now, complete)
}

// values returns the totals that a snapshot has of a metric.
func values(s *Snapshot, metric string) map[string]int {
	all := map[string]int{}
	if m, ok := s.Metrics[metric]; ok {
		for row, value := range m.Values {
			if value != Gone {
				all[m.Keys[row]] = value
			}
		}
	}
	return all
}

// rate returns the rate of a key over ten seconds.
func rate(s *Snapshot, metric, key string) float64 {
	m := s.Metrics[metric]
	slot := m.Slots[slices.Index(m.Keys, key)]
	if slot < 0 {
		return float64(slot)
	}
	return float64(s.Rates.PerSecond[rates.TenSeconds][slot])
}

const (
	keyA = `["m",{"r":"x"},{"a":1}]`
	keyB = `["m",{"r":"x"},{"a":"1","b":true}]`
)

func TestColumns(t *testing.T) {
	s := sample(NewBuilder(10), epoch, true,
		one{keyA, 3, epoch}, one{keyB, 4, epoch}, one{`["n",{},{"otel.metric.overflow":true}]`, 5, epoch},
		one{"not a key", 1, epoch}, one{`["n",{},{"a":nul}]`, 1, epoch}, one{`["n",{"a":1}`, 1, epoch})
	assert.Equal(t, 2, s.Keys)
	assert.Equal(t, 1, s.Overflow)
	assert.Equal(t, 3, s.Foreign)
	assert.Equal(t, map[string]int{keyA: 3, keyB: 4}, values(s, "m"))
	m := s.Metrics["m"]
	assert.Equal(t, []Column{
		{Attribute{true, "r"}, []string{"", `"x"`}, 2},
		{Attribute{false, "a"}, []string{"", "1", `"1"`}, 2},
		{Attribute{false, "b"}, []string{"", "true"}, 1},
	}, m.Columns)
	assert.Equal(t, uint32(2), m.Cell(1, 1))
	assert.Equal(t, 1, s.Metrics["n"].OverflowKeys)
	assert.Len(t, s.Metrics["n"].Keys, 1, "what is no key leaves nothing behind")
	assert.Equal(t, []int{1, 2, 1}, m.Distinct())
}

func TestSnapshotsDoNotChange(t *testing.T) {
	b := NewBuilder(10)
	first := sample(b, epoch, true, one{keyA, 3, epoch})
	second := sample(b, epoch.Add(time.Second), true, one{keyA, 5, epoch}, one{keyB, 1, epoch})
	third := sample(b, epoch.Add(2*time.Second), true, one{keyB, 2, epoch})
	assert.Equal(t, map[string]int{keyA: 3}, values(first, "m"))
	assert.Equal(t, map[string]int{keyA: 5, keyB: 1}, values(second, "m"))
	assert.Equal(t, map[string]int{keyB: 2}, values(third, "m"))
	assert.Empty(t, sample(b, epoch.Add(3*time.Second), true).Metrics)
}

func TestGrowth(t *testing.T) {
	b := NewBuilder(10)
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	s := sample(b, epoch, true, one{keyA, 1000, at(-50)})
	assert.Equal(t, float64(rates.None), rate(s, "m", keyA), "what was there before the first sample is no growth")
	s = sample(b, at(10), true, one{keyA, 1100, at(-50)}, one{keyB, 50, at(5)})
	assert.Equal(t, 10., rate(s, "m", keyA))
	assert.Equal(t, 5., rate(s, "m", keyB), "a key that began since the sample before has grown from nothing")
	s = sample(b, at(20), true, one{keyA, 30, at(-50)}, one{keyB, 50, at(5)})
	assert.Equal(t, 3., rate(s, "m", keyA), "a total that falls has begun anew")
	s = sample(b, at(30), false, one{keyB, 70, at(5)})
	assert.Equal(t, map[string]int{keyA: 30, keyB: 70}, values(s, "m"), "a listing that broke off takes nothing away")
	s = sample(b, at(40), true, one{keyB, 70, at(5)})
	assert.Equal(t, map[string]int{keyB: 70}, values(s, "m"))
	s = sample(b, at(50), true, one{keyB, 70, at(5)}, one{keyA, 500, at(-50)})
	assert.Equal(t, float64(rates.None), rate(s, "m", keyA), "an old key that comes back has not grown as far as anybody knows")
	sample(b, at(60), true, one{keyB, 70, at(5)})
	s = sample(b, at(70), true, one{keyB, 70, at(5)}, one{keyA, 40, at(65)})
	assert.Equal(t, 4., rate(s, "m", keyA), "a key that the store had dropped begins anew")
}

// The store's clock is a day behind, or ahead: what a key that is new has counted is growth all the same, and of an old
// one it is not.
func TestGrowthByAnotherClock(t *testing.T) {
	for _, ahead := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		b := NewBuilder(10)
		add := func(key string, value, start, last int) {
			at := epoch.Add(ahead)
			b.Add(key, value, at.Add(time.Duration(start)*time.Second), at.Add(time.Duration(last)*time.Second))
		}
		b.Begin()
		b.End(epoch, false)
		b.Begin()
		add(keyA, 1000, -50, 9)
		s := b.End(epoch.Add(10*time.Second), true)
		assert.Equal(t, float64(rates.None), rate(s, "m", keyA), "%v: it was there before the first whole listing", ahead)
		b.Begin()
		add(keyA, 1000, -50, 9)
		add(keyB, 50, 15, 19)
		s = b.End(epoch.Add(20*time.Second), true)
		assert.Equal(t, 5., rate(s, "m", keyB), "%v", ahead)
	}
	b := NewBuilder(10)
	sample(b, epoch, true)
	s := sample(b, epoch.Add(10*time.Second), true, one{keyA, 20, epoch.Add(-time.Hour)})
	assert.Equal(t, 2., rate(s, "m", keyA), "the store was listed, and had nothing")
}

func TestLimitOfRates(t *testing.T) {
	b := NewBuilder(2)
	key := func(i int) string { return fmt.Sprintf(`["m",{},{"a":%d}]`, i) }
	now := epoch
	values, lasts := []int{1, 1, 1, 1}, []time.Time{epoch, epoch, epoch, epoch}
	step := func(growing ...int) *Snapshot {
		now = now.Add(10 * time.Second)
		b.Begin()
		for _, i := range growing {
			values[i] += 10
			lasts[i] = now
		}
		for i := range values {
			b.Add(key(i), values[i], epoch, lasts[i])
		}
		return b.End(now, true)
	}
	step()
	s := step(0, 1, 2)
	assert.Equal(t, 2, s.Tracked)
	assert.Equal(t, 1, s.Untracked)
	for range 40 {
		s = step()
	}
	assert.Zero(t, s.Tracked, "slots of keys that are idle are free")
	assert.Zero(t, s.Untracked)
	s = step(3)
	assert.Equal(t, 1, s.Tracked)
	assert.Positive(t, rate(s, "m", key(3)))
}

// TestSweep: rows of keys that are gone do not stay for ever, and what stays is as it was.
func TestSweep(t *testing.T) {
	b := NewBuilder(100_000)
	key := func(i int) string { return fmt.Sprintf(`["m",{"r":%d},{"a":"%d"}]`, i%7, i) }
	now := epoch
	var before, s *Snapshot
	for round := range 10 {
		now = now.Add(10 * time.Second)
		b.Begin()
		b.Add(keyA, 10*(round+1), epoch, now)
		for i := range 1000 {
			b.Add(key(round*1000+i), 5, now.Add(-time.Second), now)
		}
		before, s = s, b.End(now, true)
		require.Len(t, values(s, "m"), 1001)
		require.LessOrEqual(t, len(s.Metrics["m"].Keys), 3100)
		if before != nil {
			require.Len(t, values(before, "m"), 1001)
			require.InDelta(t, 1, rate(s, "m", keyA), 0.01)
		}
	}
	m := s.Metrics["m"]
	for row, value := range m.Values {
		if value == Gone {
			continue
		}
		text := `["m"`
		shape := m.Shapes[m.ShapeOf(row)]
		for position, c := range shape.Columns {
			text += fmt.Sprintf(",{%q:%s}", m.Columns[c].Name, m.Columns[c].Texts[m.Cell(row, position)])
		}
		require.Equal(t, m.Keys[row], text+"]")
	}
}
