// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the contract that every MetricStore keeps, as tests: run it on yours.
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.MetricStore { return mystore.New() })
//	}
package storetest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// Run checks the contract of MetricStore, and of each optional interface that the store implements. open returns an
// empty store that no other test uses; it closes it with t.Cleanup if need be.
func Run(t *testing.T, open func(t *testing.T) store.MetricStore) {
	t.Run("a key never counted is 0", func(t *testing.T) {
		assert.Zero(t, open(t).Get("never"))
	})
	t.Run("Inc adds one to its key alone", func(t *testing.T) {
		s := open(t)
		for n := 1; n <= 3; n++ {
			s.Inc("a")
			assert.Equal(t, n, s.Get("a"))
		}
		assert.Zero(t, s.Get("b"))
	})
	t.Run("keys are taken byte by byte", func(t *testing.T) { testKeys(t, open(t)) })
	t.Run("concurrent use is exact", func(t *testing.T) { testConcurrency(t, open(t)) })
	t.Run("Add", func(t *testing.T) { testAdder(t, open(t)) })
	t.Run("Bind", func(t *testing.T) { testBinder(t, open(t)) })
	t.Run("Totals", func(t *testing.T) { testLister(t, open(t)) })
	t.Run("Flush", func(t *testing.T) { testFlusher(t, open(t)) })
	t.Run("Forget", func(t *testing.T) { testForgetter(t, open(t)) })
	t.Run("Claim", func(t *testing.T) { testClaimer(t, open(t)) })
}

func testClaimer(t *testing.T, s store.MetricStore) {
	c, ok := s.(capability.Claimer)
	if !ok {
		return
	}
	claim := func(unit, sum string, begin int) (any, func(), error) {
		return c.Claim(store.Description{Metric: "m", Unit: unit, Sum: sum}, func() any { return begin })
	}
	shared, release, err := claim("{record}", "records", 1)
	require.NoError(t, err)
	assert.Equal(t, 1, shared)
	_, _, err = claim("By", "bytes", 2)
	require.Error(t, err, "another meaning")
	shared, again, err := claim("{record}", "records", 3)
	require.NoError(t, err, "the same")
	assert.Equal(t, 1, shared, "and has it in common")
	again()
	release()
	shared, release, err = claim("By", "bytes", 4)
	require.NoError(t, err, "nobody else counts it any more")
	assert.Equal(t, 4, shared)
	release()
}

// testKeys counts under keys that a careless store would take for one another, n times the nth.
func testKeys(t *testing.T, s store.MetricStore) {
	keys := []string{
		"", "a", "A", "a ", " a", "a\x00", "a\x00b", "ä", "a\u0308", "*", "{a}", "a b", "a\r\nb", "'", `"`, `\`, "a:b", "%s",
		`["m",{},{"a":1}]`, `["m",{},{"a":1.0}]`, `["m",{},{"a":"1"}]`, `["m",{"a":1},{}]`,
		strings.Repeat("x", 4095), strings.Repeat("x", 4096),
	}
	for i, key := range keys {
		for range i + 1 {
			s.Inc(key)
		}
	}
	for i, key := range keys {
		assert.Equal(t, i+1, s.Get(key), "%.20q", key)
	}
}

func testConcurrency(t *testing.T, s store.MetricStore) {
	const writers, rounds, keys = 8, 500, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range rounds {
				s.Inc(fmt.Sprint(i % keys))
				s.Get(fmt.Sprint(i % keys))
			}
		})
	}
	wg.Wait()
	for i := range keys {
		assert.Equal(t, writers*rounds/keys, s.Get(fmt.Sprint(i)))
	}
}

func testAdder(t *testing.T, s store.MetricStore) {
	a, ok := s.(store.Adder)
	if !ok {
		t.Log("not implemented")
		return
	}
	a.Add("a", 1)
	a.Add("a", 41)
	s.Inc("a")
	assert.Equal(t, 43, s.Get("a"))

	a.Add("full", math.MaxInt-1)
	a.Add("full", 5)
	s.Inc("full")
	assert.Equal(t, math.MaxInt, s.Get("full"), "a total stays at the largest int")
}

// testBinder adds by Counters and by key at once, and binds a key anew when the store has dropped it: nothing is lost.
func testBinder(t *testing.T, s store.MetricStore) {
	binder, ok := s.(store.Binder)
	if !ok {
		t.Log("not implemented")
		return
	}
	counter := binder.Bind("a")
	assert.Zero(t, s.Get("a"), "to bind a key does not count it")
	if l, ok := s.(store.Lister); ok {
		assert.Empty(t, list(t, l))
	}
	assert.True(t, counter.Add(3, binder.Now()))
	s.Inc("a")
	assert.True(t, binder.Bind("a").Add(2, binder.Now()))
	assert.True(t, counter.Add(math.MaxInt-100, binder.Now()))
	assert.Equal(t, math.MaxInt-94, s.Get("a"))
	assert.True(t, counter.Add(200, binder.Now()))
	assert.Equal(t, math.MaxInt, s.Get("a"), "a total stays at the largest int")

	var adding sync.WaitGroup
	for range 4 {
		own := binder.Bind("b")
		adding.Go(func() {
			for range 1000 {
				assert.True(t, own.Add(1, binder.Now()))
				s.Inc("b")
			}
		})
	}
	adding.Wait()
	assert.Equal(t, 8000, s.Get("b"))

	f, ok := s.(capability.Forgetter)
	if _, forgets := s.(interface{ ForgetIdle() }); !ok || !forgets || capability.InfoOf(s).ForgetAfter == 0 {
		return
	}
	const key = `["m",{},{"n":1}]`
	held, added := binder.Bind(key), 0
	for range 3 {
		for !held.Add(5, binder.Now()) {
			held = binder.Bind(key)
		}
		added += 5
		forgetIdle(t, s, capability.InfoOf(s).ForgetAfter)
	}
	assert.False(t, held.Add(1, binder.Now()), "the Counter of a key that was dropped takes nothing")
	assert.Equal(t, added, s.Get(key)+f.Forgotten()["m"].Total)
}

func testLister(t *testing.T, s store.MetricStore) {
	l, ok := s.(store.Lister)
	if !ok {
		t.Log("not implemented")
		return
	}
	assert.Empty(t, list(t, l))

	before := time.Now()
	for range 3 {
		s.Inc("a")
	}
	s.Inc("b")
	first := list(t, l)
	require.Len(t, first, 2)
	assert.Equal(t, 3, first["a"].Value)
	assert.Equal(t, 1, first["b"].Value)

	s.Inc("a")
	second := list(t, l)
	assert.Equal(t, 4, second["a"].Value)
	assert.Equal(t, first["b"], second["b"], "a key that was not counted does not change")
	assert.True(t, first["a"].Start.Equal(second["a"].Start), "the start of a key is constant")
	for key, total := range second {
		// a store may keep times to the millisecond
		assert.False(t, total.Start.Before(before.Truncate(time.Millisecond)), key)
		assert.False(t, total.Last.Before(total.Start), key)
		assert.False(t, total.Last.After(time.Now().Add(time.Millisecond)), key)
	}
	assert.False(t, second["a"].Last.Before(first["a"].Last))

	for _, err := range l.Totals(context.Background()) {
		require.NoError(t, err)
		break // a caller may stop
	}
}

func list(t *testing.T, l store.Lister) map[string]store.Total {
	t.Helper()
	totals := map[string]store.Total{}
	for total, err := range l.Totals(t.Context()) {
		require.NoError(t, err)
		assert.NotContains(t, totals, total.Key, "a key is listed once")
		totals[total.Key] = total
	}
	return totals
}

func testFlusher(t *testing.T, s store.MetricStore) {
	f, ok := s.(store.Flusher)
	if !ok {
		t.Log("not implemented")
		return
	}
	require.NoError(t, f.Flush(t.Context()), "an empty store")
	s.Inc("a")
	require.NoError(t, f.Flush(t.Context()))
	require.NoError(t, f.Flush(t.Context()), "nothing new")
	assert.Equal(t, 1, s.Get("a"))
}

// testForgetter counts keys and lets the store forget them, if it has a method ForgetIdle to be told so: nothing is
// lost between what it lists and what it has forgotten.
func testForgetter(t *testing.T, s store.MetricStore) {
	f, ok := s.(capability.Forgetter)
	if !ok {
		t.Log("not implemented")
		return
	}
	after := capability.InfoOf(s).ForgetAfter
	assert.GreaterOrEqual(t, after, time.Duration(0))
	assert.Empty(t, f.Forgotten(), "an empty store")
	var mu sync.Mutex
	dropped := 0
	count := func(keys []string) {
		mu.Lock()
		defer mu.Unlock()
		dropped += len(keys)
		for _, key := range keys {
			assert.False(t, f.Has(key), "it is dropped when that is told")
		}
	}
	unregister := f.OnForget(count)
	f.OnForget(count)() // unregistered at once

	const rounds, keys = 3, 50
	for range rounds {
		for i := range keys {
			s.Inc(fmt.Sprintf(`["m",{},{"n":%d}]`, i))
		}
		forgetIdle(t, s, after)
	}
	unregister()
	forgetIdle(t, s, after)

	sum, forgotten := 0, f.Forgotten()
	for i := range keys {
		sum += s.Get(fmt.Sprintf(`["m",{},{"n":%d}]`, i))
	}
	assert.Equal(t, rounds*keys, sum+forgotten["m"].Total, "nothing is lost")
	mu.Lock()
	defer mu.Unlock()
	assert.LessOrEqual(t, dropped, forgotten["m"].Keys, "what is dropped is told, once")
	if after == 0 {
		assert.Empty(t, forgotten, "nothing is forgotten")
		assert.Zero(t, dropped)
	}
	clear(forgotten)
	if after != 0 {
		assert.Equal(t, rounds*keys-sum, f.Forgotten()["m"].Total, "the caller owns what Forgotten returns")
	}
}

// forgetIdle has the store forget, when it can be told to and keys are idle soon.
func forgetIdle(t *testing.T, s store.MetricStore, after time.Duration) {
	t.Helper()
	idle, ok := s.(interface{ ForgetIdle() })
	if !ok || after > time.Second {
		return
	}
	time.Sleep(after)
	idle.ForgetIdle()
}
