// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

// A request that is left in the configuration is done once, in however many starts, and the log says so. It is done
// again after it has changed, or after a start without it.
func TestEraseIsDoneOnce(t *testing.T) {
	d := newDisk()
	alice := userKey(serieskey.StringValue("alice"), "/a")
	request := erasing(map[string]any{"user": "alice"}, map[string]any{"user": 7, "route": "/b"})
	reordered := erasing(map[string]any{"route": "/b", "user": 7.0}, map[string]any{"user": "alice"}, map[string]any{"user": "alice"})
	metrics := func(c *Config) { request(c); c.EraseMetrics = []string{"old"} }
	for n, tt := range []struct {
		change func(*Config)
		erased bool
	}{
		{request, true},
		{request, false},
		{reordered, false},
		{request, false},
		{metrics, true},
		{metrics, false},
		{request, true}, // it has changed
		{func(*Config) {}, false},
		{request, true},
		{request, false},
	} {
		i := start(t, d, tt.change)
		assert.Equal(t, tt.erased, i.said("Series are erased"), "start %d", n)
		assert.Equal(t, n > 0 && tt.erased, i.memory.Get(alice) == 0 && n > 0, "start %d", n)
		i.store.Add(alice, 1)
		require.NoError(t, i.Shutdown(t.Context()))
	}
	i := start(t, d, request)
	line := i.logs.FilterMessageSnippet("Already erased at 2").All()
	require.Len(t, line, 1)
	assert.Contains(t, line[0].Message, "remove `erase` from the configuration")
}

func (i *instance) said(snippet string) bool { return i.logs.FilterMessageSnippet(snippet).Len() > 0 }

// A name that was to be erased is not in the storage, not even in the note of what was done.
func TestEraseNoteHasNoLogContent(t *testing.T) {
	d := newDisk()
	var seen []string
	for range 2 {
		i := start(t, d, erasing(map[string]any{"user": "alice"}), func(c *Config) { c.EraseMetrics = []string{"old"} })
		require.NoError(t, i.Shutdown(t.Context()))
		for _, value := range d.copy().data {
			assert.NotContains(t, string(value), "alice")
			assert.NotContains(t, string(value), "old")
		}
		seen = append(seen, string(d.data["meta.0"]))
		d = newDisk()
	}
	assert.NotEqual(t, seen[0], seen[1], "the hash has a salt")
}

// Requests are told apart by what they find.
func TestRequestText(t *testing.T) {
	type items = []map[string]any
	distinct := []string{}
	for _, same := range [][]items{
		{nil, {}},
		{{{"a": 7}}, {{"a": 7.0}}, {{"a": int64(7)}}, {{"a": uint64(7)}}, {{"a": 7}, {"a": 7.0}}},
		{{{"a": "7"}}},
		{{{"a": "7.0"}}},
		{{{"a": true}}, {{"a": "true"}}},
		{{{"a": math.NaN()}}},
		{{{"a": math.Inf(1)}}},
		{{{"a": 1, "b": 2}}, {{"b": 2, "a": 1}}},
		{{{"a": 1}, {"b": 2}}, {{"b": 2}, {"a": 1}}},
		{{{"a,b": "c"}}},
		{{{"a": "b,c"}}},
		{{{`a":"b`: ""}}},
	} {
		for _, list := range same {
			assert.Equal(t, requestText(same[0], nil), requestText(list, nil), "%v", list)
		}
		assert.NotContains(t, distinct, requestText(same[0], nil), "%v", same)
		distinct = append(distinct, requestText(same[0], nil))
	}
	assert.Equal(t, requestText(nil, []string{"a", "b"}), requestText(nil, []string{"b", "a", "b"}))
	assert.NotEqual(t, requestText(nil, []string{"a"}), requestText(nil, []string{"b"}))
	assert.NotEqual(t, requestText(items{{"a": "b"}}, nil), requestText(nil, []string{"a"}))
}

// Whichever write of a start a crash prevents: the next start with the request has nothing left of what is to be
// erased, whether it finds that it was done or does it.
func TestFault_kill_every_write_of_an_erasure(t *testing.T) {
	base := newDisk()
	i := start(t, base)
	alice, bob := userKey(serieskey.StringValue("alice"), "/a"), userKey(serieskey.StringValue("bob"), "/a")
	i.store.Add(alice, 3)
	i.store.Add(bob, 4)
	require.NoError(t, i.Shutdown(t.Context()))
	request := erasing(map[string]any{"user": "alice"})
	found := map[bool]int{} // how often it was done in the crashed start
	for n := 0; ; n++ {
		if n > 10 && n < 2*state.Sections-10 {
			n += 20 // of the sections
		}
		d := base.copy()
		d.budget, d.torn = n, n%2 == 1
		i := newInstance(t, d, request)
		err := i.Start(t.Context(), i.host)
		i.kill(t)
		d.with(func() { d.budget, d.torn = -1, false })
		next := start(t, d, request)
		require.Equal(t, map[string]int{bob: 4}, next.values(t), "crash after %d", n)
		found[next.said("Already erased")]++
		for name, value := range d.copy().data {
			require.NotContains(t, string(value), "alice", "crash after %d: %s", n, name)
		}
		require.NoError(t, next.Shutdown(t.Context()))
		if err == nil {
			break
		}
	}
	assert.Greater(t, found[false], 30)
	assert.Positive(t, found[true])
}

// requests are such as follow one another in a configuration.
var requests = []func(*Config){
	func(*Config) {},
	erasing(map[string]any{"user": "u0"}),
	erasing(map[string]any{"user": "u1"}, map[string]any{"user": "u2", "route": "/1"}),
	func(c *Config) { c.EraseMetrics = []string{"m"} },
	func(c *Config) { c.Erase, c.EraseMetrics = []map[string]any{{"user": "u0"}}, []string{"other"} },
}

// starts is a model of an extension that starts again and again: what its totals are, and which requests it may
// remember.
type starts struct {
	disk       *disk
	values     map[string]int
	remembered []int // the one of the last life that went well, then those of starts that crashed since; 0 = none
}

// TestEraseInAnyOrder starts with requests and without, in random order, with crashes in the starts and after.
func TestEraseInAnyOrder(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range evidence.Rounds(10, 1000) {
		r := rand.New(rand.NewPCG(uint64(seed), 10))
		m := &starts{disk: newDisk(), values: map[string]int{}, remembered: []int{0}}
		request := 0
		for range 12 {
			if r.IntN(4) > min(2, len(m.remembered)) { // else it is left as it is, most often after a crash
				request = r.IntN(len(requests))
			}
			if r.IntN(3) == 0 {
				budget := []int{r.IntN(8), 250 + r.IntN(280), 510 + r.IntN(10)}[r.IntN(3)]
				m.crash(t, request, budget, r.IntN(2) == 0)
			} else {
				outcomes[m.start(t, request, r)]++
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
	assert.Greater(t, outcomes["erased"], 15)
	assert.Greater(t, outcomes["already"], 5)
	assert.Greater(t, outcomes["nothing"], 5)
}

// crash is a start whose writes are cut short. It may have done what it was asked to, or not.
func (m *starts) crash(t *testing.T, request, budget int, torn bool) {
	m.disk.with(func() { m.disk.budget, m.disk.torn = budget, torn })
	i := newInstance(t, m.disk, requests[request])
	_ = i.Start(t.Context(), i.host) // it may fail
	i.kill(t)
	m.disk.with(func() { m.disk.budget, m.disk.torn = -1, false })

	after := start(t, m.disk.copy()).values(t)
	if request != 0 && slices.Contains(m.remembered, request) && len(m.remembered) == 1 {
		assert.Equal(t, m.values, after, "nothing was to be done")
		return
	}
	for key, value := range m.values {
		if got, left := after[key]; left || !m.erases(t, request, key) {
			assert.Equal(t, value, got, key)
		}
	}
	m.values = after
	m.remembered = append(m.remembered, 0, request)
}

// start is a whole life, after which all that was counted is in the storage.
func (m *starts) start(t *testing.T, request int, r *rand.Rand) (outcome string) {
	i := start(t, m.disk, requests[request])
	erased, already := i.said("Series are erased"), i.said("Already erased")
	switch {
	case request == 0:
		assert.False(t, erased || already)
		outcome = "nothing"
	case already:
		assert.Contains(t, m.remembered, request)
		if m.remembered[0] != request { // then a start that crashed has done it, and nothing was counted since
			m.requireErased(t, request)
		}
		outcome = "already"
	default:
		assert.True(t, erased)
		assert.False(t, len(m.remembered) == 1 && m.remembered[0] == request, "it was done before")
		outcome = "erased"
		m.erase(t, request)
		m.requireErased(t, request)
	}
	m.remembered = []int{request}
	assert.Equal(t, m.values, i.values(t), outcome)
	for range r.IntN(10) {
		key := anyKey(r.IntN(24))
		i.store.Add(key, 1)
		m.values[key]++
	}
	if r.IntN(2) == 0 {
		require.NoError(t, i.store.Flush(t.Context()))
		i.kill(t)
	} else {
		require.NoError(t, i.Shutdown(t.Context()))
	}
	return outcome
}

// anyKey returns one of 24 keys.
func anyKey(n int) string {
	value := func(prefix string, n int) serieskey.Value { return serieskey.StringValue(fmt.Sprint(prefix, n)) }
	return serieskey.Key{Metric: []string{"m", "other", "third"}[n%3], Attributes: []serieskey.Attribute{
		{Name: "route", Value: value("/", n/3%2)}, {Name: "user", Value: value("u", n/6)},
	}}.String()
}

// requireErased fails if a slot of the storage has a key that was to be erased.
func (m *starts) requireErased(t *testing.T, request int) {
	for n := range 24 {
		key := anyKey(n)
		if !m.erases(t, request, key) {
			continue
		}
		for number := range state.Slots { // the others are not for it
			name := state.Name(state.Bucket(key), number)
			assert.NotContains(t, string(m.disk.copy().data[name]), key, name)
		}
	}
}

func (m *starts) erase(t *testing.T, request int) {
	for key := range m.values {
		if m.erases(t, request, key) {
			delete(m.values, key)
		}
	}
}

func (m *starts) erases(t *testing.T, request int, key string) bool {
	cfg := &Config{}
	requests[request](cfg)
	keys, err := newEraser(cfg.Erase)
	require.NoError(t, err)
	metric, _ := serieskey.MetricOf(key)
	return keys.matches(key) || slices.Contains(cfg.EraseMetrics, metric)
}
