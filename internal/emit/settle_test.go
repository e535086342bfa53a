// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor/store"
)

// TestLowerTotals: a total that is lower than before is not emitted while it may come back, and gets a new start time
// when it does not.
func TestLowerTotals(t *testing.T) {
	start := time.Unix(1000, 0)
	now := start.Add(time.Hour)
	e := New(Settings{Settle: 10 * time.Second})
	collect := func(after time.Duration, value int) (values []int64) {
		now = now.Add(after)
		c, err := e.Collect(func(yield func(store.Total, error) bool) {
			yield(store.Total{Key: `["m",{},{}]`, Value: value, Start: start, Last: now}, nil)
		}, nil, now)
		require.NoError(t, err)
		sink := new(consumertest.MetricsSink)
		require.NoError(t, c.Send(t.Context(), sink))
		for _, m := range sink.AllMetrics() {
			points := m.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
			for i := range points.Len() {
				values = append(values, points.At(i).IntValue())
			}
		}
		return values
	}
	assert.Equal(t, []int64{0, 100}, collect(0, 100))
	assert.Empty(t, collect(time.Second, 60), "it is lower")
	assert.Empty(t, collect(5*time.Second, 90))
	assert.Equal(t, []int64{120}, collect(time.Second, 120), "it has come back")
	assert.Empty(t, collect(time.Second, 60), "it is lower again, and has as long as the first time")
	assert.Empty(t, collect(9*time.Second, 60))
	assert.Equal(t, []int64{0, 60}, collect(time.Second, 60), "it was reset")
	assert.Equal(t, []int64{61}, collect(time.Second, 61))
}
