// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package rates

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var epoch = time.Unix(1_700_000_000, 0)

func TestRatesAreOverTheirWindows(t *testing.T) {
	tracker := New(1)
	slot := tracker.Take()
	r := tracker.Sample(epoch)
	assert.Zero(t, r.Covered)
	now := epoch
	for range 200 { // 400 seconds of 10 a second
		now = now.Add(2 * time.Second)
		tracker.Add(slot, 20)
		r = tracker.Sample(now)
	}
	assert.Equal(t, [Windows]time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}, covers(r, 2*time.Second))
	for i := range r.PerSecond {
		assert.InDelta(t, 10, r.PerSecond[i][slot], 1e-4)
	}
	for range 5 { // ten seconds of 100 a second
		now = now.Add(2 * time.Second)
		tracker.Add(slot, 200)
		r = tracker.Sample(now)
	}
	assert.InDelta(t, 100, r.PerSecond[TenSeconds][slot], 1e-3)
	assert.InDelta(t, 10+90./6, r.PerSecond[OneMinute][slot], 2.6)
	assert.InDelta(t, 10+90./30, r.PerSecond[FiveMinutes][slot], 0.6)
	for range 6 {
		now = now.Add(2 * time.Second)
		r = tracker.Sample(now)
	}
	assert.Zero(t, r.PerSecond[TenSeconds][slot])
	assert.Positive(t, r.PerSecond[OneMinute][slot])
	assert.False(t, tracker.Idle(slot))
	for range 200 {
		now = now.Add(2 * time.Second)
		r = tracker.Sample(now)
	}
	assert.Zero(t, r.PerSecond[FiveMinutes][slot])
	assert.True(t, tracker.Idle(slot))
}

// covers rounds what is covered down to the window where it is longer by less than a bucket and a sample.
func covers(r *Rates, sample time.Duration) (list [Windows]time.Duration) {
	for i, covered := range r.Covered {
		if covered >= Durations[i] && covered <= Durations[i]+Durations[i]/parts+sample {
			list[i] = Durations[i]
		} else {
			list[i] = covered
		}
	}
	return list
}

// TestAgainstAPlainModel: with samples at any distance, the rate is what was counted in the time covered, by that time.
func TestAgainstAPlainModel(t *testing.T) {
	type event struct {
		at time.Time
		n  int
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		tracker := New(1)
		slot := tracker.Take()
		tracker.Sample(epoch)
		var events []event
		now := epoch
		step := time.Duration(1+random.IntN(20)) * time.Second
		for range 300 {
			now = now.Add(step + time.Duration(random.IntN(int(step/5))))
			n := random.IntN(1000)
			tracker.Add(slot, n)
			events = append(events, event{now, n})
			r := tracker.Sample(now)
			for i := range Durations {
				var sum int
				for _, e := range events {
					if e.at.After(now.Add(-r.Covered[i])) {
						sum += e.n
					}
				}
				require.InEpsilon(t, float64(sum)/r.Covered[i].Seconds()+1, float64(r.PerSecond[i][slot])+1, 1e-4)
				if elapsed := now.Sub(epoch); elapsed > Durations[i] {
					require.GreaterOrEqual(t, r.Covered[i].Seconds(), Durations[i].Seconds()*(1-slack))
					require.LessOrEqual(t, r.Covered[i], Durations[i]+max(2*step, Durations[i]/parts+2*step))
				} else {
					require.Equal(t, elapsed, r.Covered[i])
				}
			}
		}
	}
}

func TestLimitOfSlots(t *testing.T) {
	tracker := New(2)
	a, b := tracker.Take(), tracker.Take()
	assert.Equal(t, 2, tracker.Used())
	assert.Equal(t, Untracked, tracker.Take())
	tracker.Sample(epoch)
	tracker.Add(a, 5)
	tracker.Add(b, 7)
	tracker.Release(a)
	again := tracker.Take()
	assert.Equal(t, a, again)
	assert.True(t, tracker.Idle(again), "nothing is left of the key before")
	assert.False(t, tracker.Idle(b))
	assert.Equal(t, Untracked, New(0).Take())
}
