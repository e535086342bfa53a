// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// userKey is a key with a resource and two attributes.
func userKey(user serieskey.Value, route string) string {
	return serieskey.Key{
		Metric: "m", Resource: []serieskey.Attribute{{Name: "service.name", Value: serieskey.StringValue("shop")}},
		Attributes: []serieskey.Attribute{{Name: "route", Value: serieskey.StringValue(route)}, {Name: "user", Value: user}},
	}.String()
}

func erasing(list ...map[string]any) func(*Config) {
	return func(c *Config) { c.Erase = list }
}

// What is erased is in no slot of the storage afterwards, all else is as it was, and the sum of the metric is kept.
func TestErase(t *testing.T) {
	d := newDisk()
	alice, bob := serieskey.StringValue(`al"ice`), serieskey.StringValue("bob")
	i := start(t, d)
	for range 2 { // so that both slots have her
		i.store.Add(userKey(alice, "/a"), 3)
		i.store.Add(userKey(alice, "/b"), 4)
		i.store.Add(userKey(bob, "/a"), 5)
		i.store.Add(userKey(serieskey.IntValue(7), "/a"), 6)
		i.store.Add(userKey(serieskey.DoubleValue(2), "/a"), 1)
		i.store.Add("no key of tally's: al\"ice", 1)
		require.NoError(t, i.store.Flush(t.Context()))
	}
	require.NoError(t, i.Shutdown(t.Context()))

	i = start(t, d, erasing(map[string]any{"user": `al"ice`}, map[string]any{"user": 7, "service.name": "shop"}, map[string]any{"user": "bob", "route": "/b"}, map[string]any{"user": 2.0}))
	want := map[string]int{userKey(bob, "/a"): 10, "no key of tally's: al\"ice": 2}
	assert.Equal(t, want, i.values(t))
	assert.Equal(t, 28, i.memory.Forgotten()["m"].Total, "the balance of the metric")
	for name, value := range d.copy().data {
		assert.NotContains(t, string(value), `al\"ice`, name)
	}
	require.Equal(t, 1, i.logs.FilterMessageSnippet("Series are erased").Len())
	line := i.logs.FilterMessageSnippet("Series are erased").All()[0].ContextMap()
	assert.EqualValues(t, 4, line["keys"])
	assert.NotContains(t, fmt.Sprint(line), "ice")
	i.store.Add(userKey(alice, "/a"), 1)
	require.NoError(t, i.Shutdown(t.Context()))

	i = start(t, d)
	want[userKey(alice, "/a")] = 1 // she has come back
	assert.Equal(t, want, i.values(t))
	assert.Equal(t, 28, i.memory.Forgotten()["m"].Total)
	require.NoError(t, i.Shutdown(t.Context()))
}

// An erasure that cannot be written is an error at start, not a line that says it was done.
func TestEraseOnABrokenDisk(t *testing.T) {
	d := newDisk()
	i := start(t, d)
	i.store.Add(userKey(serieskey.StringValue("alice"), "/a"), 3)
	require.NoError(t, i.Shutdown(t.Context()))
	i = newInstance(t, d, erasing(map[string]any{"user": "alice"}))
	d.with(func() { d.budget = 0 })
	require.ErrorContains(t, i.Start(t.Context(), i.host), "`erase`")
	assert.Zero(t, i.logs.FilterMessageSnippet("Series are erased").Len())
	d.with(func() { d.budget = -1 })
	i = start(t, d)
	assert.Equal(t, 3, i.memory.Get(userKey(serieskey.StringValue("alice"), "/a")), "it is still there")
}

// What a metric has left is in no slot of the storage afterwards, and counts for nothing: neither as keys nor as
// forgotten. Other metrics keep all they have.
func TestEraseMetrics(t *testing.T) {
	d := newDisk()
	key := func(metric, value string) string {
		return serieskey.Key{Metric: metric, Attributes: []serieskey.Attribute{{Name: "v", Value: serieskey.StringValue(value)}}}.String()
	}
	i := start(t, d)
	for _, metric := range []string{`old "name"`, "kept"} {
		i.store.Describe(store.Description{Metric: metric, Unit: "By", Sum: "bytes"})
		for n := range 300 { // so that most sections have some
			i.store.Add(key(metric, fmt.Sprint(n)), 2)
		}
		i.store.Add(key(metric, "idle"), 5)
		i.memory.Forget(func(k string) bool { return k == key(metric, "idle") })
		require.NoError(t, i.store.Flush(t.Context()))
	}
	require.NoError(t, i.Shutdown(t.Context()))

	i = start(t, d, func(c *Config) { c.EraseMetrics = []string{`old "name"`, "never counted"} })
	line := i.logs.FilterMessageSnippet("Series are erased").All()[0].ContextMap()
	assert.EqualValues(t, 300, line["keys"])
	require.NoError(t, i.Shutdown(t.Context()))
	for name, value := range d.copy().data {
		assert.NotContains(t, string(value), "old", name)
	}

	i = start(t, d)
	assert.Len(t, i.values(t), 300)
	assert.Equal(t, map[string]capability.Forgotten{"kept": {Total: 5}}, i.memory.Forgotten())
	assert.Equal(t, []store.Description{{Metric: "kept", Unit: "By", Sum: "bytes"}}, i.store.Descriptions())
}

// A number of the configuration finds what equals it in any kind, and the string that is shown as it is; a string what
// is shown as it is.
func TestEraseIsByValue(t *testing.T) {
	id := serieskey.StringValue
	double, whole := serieskey.DoubleValue, serieskey.IntValue
	const big = 1 << 60 // as a double it is shown with other digits
	for _, tt := range []struct {
		configured any
		erased     []serieskey.Value
		kept       []serieskey.Value
	}{
		{12345678, []serieskey.Value{whole(12345678), double(12345678), id("12345678")}, []serieskey.Value{double(12345678.5), id("1.2345678e+07")}},
		{7.0, []serieskey.Value{whole(7), double(7), id("7")}, []serieskey.Value{id("7.0"), whole(70), double(0.7)}},
		{"7", []serieskey.Value{whole(7), double(7), id("7")}, []serieskey.Value{id("7.0"), id("07")}},
		{"7.0", []serieskey.Value{id("7.0")}, []serieskey.Value{whole(7), double(7), id("7")}},
		{0.5, []serieskey.Value{double(0.5), id("0.5")}, []serieskey.Value{whole(0), double(5)}},
		{int64(big), []serieskey.Value{whole(big), double(big), id("1152921504606846976")}, []serieskey.Value{whole(big + 1), whole(big - 1)}},
		{int64(big + 1), []serieskey.Value{whole(big + 1)}, []serieskey.Value{double(big), whole(big)}},
		{uint64(1e19), []serieskey.Value{double(1e19), id("10000000000000000000")}, []serieskey.Value{double(1e18)}},
		{math.Copysign(0, -1), []serieskey.Value{whole(0), double(0), id("0")}, []serieskey.Value{id(""), serieskey.BoolValue(false)}},
		{true, []serieskey.Value{serieskey.BoolValue(true), id("true")}, []serieskey.Value{whole(1)}},
	} {
		e, err := newEraser([]map[string]any{{"user": tt.configured}})
		require.NoError(t, err)
		for _, v := range tt.erased {
			assert.True(t, e.matches(userKey(v, "/a")), "%v: %#v", tt.configured, v)
		}
		for _, v := range tt.kept {
			assert.False(t, e.matches(userKey(v, "/a")), "%v: %#v", tt.configured, v)
		}
	}
}

func TestEraseMistakes(t *testing.T) {
	for want, list := range map[string][]map[string]any{
		"`erase::1` must name an attribute": {{"a": 1}, {}},
		"`erase::0::a` must be a string":    {{"a": []any{1}}},
		"`erase::0::b` must be a string":    {{"a": nil, "b": map[string]any{}}},
		"`erase`: needs `storage`":          {{"a": 1}},
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Erase = list
		assert.ErrorContains(t, cfg.Validate(), want)
	}
	cfg := createDefaultConfig().(*Config)
	cfg.EraseMetrics = []string{"m"}
	assert.ErrorContains(t, cfg.Validate(), "`erase_metrics`: needs `storage`")
}
