// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// keysOfNaively is KeysOf by a look at every key.
func keysOfNaively(t *testing.T, s *Store, metric string) (keys []string) {
	t.Helper()
	for total, err := range s.Totals(t.Context()) {
		require.NoError(t, err)
		if name, _ := serieskey.MetricOf(total.Key); name == metric {
			keys = append(keys, total.Key)
		}
	}
	return keys
}

// Whatever comes and goes between, the keys of a metric are those that the listing has.
func TestKeysOfAMetric(t *testing.T) {
	metrics := []string{"m", "m.more", "", `q"uoted`, "é\\", "n"}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := New(WithForgetAfter(time.Hour))
		for range 300 {
			key := serieskey.Key{Metric: metrics[r.IntN(len(metrics))], Attributes: []serieskey.Attribute{{Name: "a", Value: serieskey.IntValue(int64(r.IntN(9)))}}}.String()
			switch r.IntN(6) {
			case 0:
				s.Add(key, r.IntN(2))
			case 1:
				s.Bind(key)
			case 2:
				s.Restore(store.Total{Key: key, Value: r.IntN(2), Start: time.Now(), Last: time.Now()})
			case 3:
				s.Forget(func(k string) bool { return k == key })
			default:
				for _, metric := range metrics {
					keys, atMost := s.KeysOf(metric)
					got := slices.Collect(keys)
					require.ElementsMatch(t, keysOfNaively(t, s, metric), got, "seed %d", seed)
					require.GreaterOrEqual(t, atMost, len(got))
				}
			}
		}
	}
}

// A listing that runs while keys come and go is not taken for what there is afterwards.
func TestKeysOfAMetricWhileKeysComeAndGo(t *testing.T) {
	s := New(WithForgetAfter(time.Hour))
	for range 20 {
		var changing sync.WaitGroup
		for a := range 3 {
			changing.Go(func() {
				for i := range 200 {
					s.Inc(fmt.Sprintf(`["m%d",{},{"i":%d}]`, i%2, a*200+i))
				}
				s.Forget(func(key string) bool { return len(key)%2 == a%2 })
			})
		}
		for range 20 {
			s.KeysOf("m0")
		}
		changing.Wait()
		for _, metric := range []string{"m0", "m1"} {
			keys, _ := s.KeysOf(metric)
			require.ElementsMatch(t, keysOfNaively(t, s, metric), slices.Collect(keys))
		}
	}
}

// However many ask, the store is listed once; it keeps nothing of that when keys come.
func TestKeysAreListedOnce(t *testing.T) {
	s := New()
	for i := range 100 {
		s.Inc(fmt.Sprintf(`["m%d",{},{"i":%d}]`, i%4, i))
	}
	var listed *listedKeys
	for i := range 6 {
		s.KeysOf(fmt.Sprintf("m%d", i%4))
		if i == 0 {
			listed = s.keys.latest.Load()
			require.NotNil(t, listed)
		}
		require.Same(t, listed, s.keys.latest.Load())
	}
	s.Inc(`["m0",{},{"i":0}]`)
	assert.NotNil(t, s.keys.latest.Load(), "no key is new")
	s.Inc(`["m0",{},{"i":100}]`)
	assert.Nil(t, s.keys.latest.Load())
}
