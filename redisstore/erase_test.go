// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/redistest"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
	"github.com/logtally/tallyprocessor/store"
)

// The script of the docs takes keys out of the totals while Collectors count. What had been counted does not come back,
// what is counted from then on does, and all other totals stay exact.
func TestErase(t *testing.T) {
	script, err := os.ReadFile("erase.lua")
	require.NoError(t, err)
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 4
	a, b := open(t, cfg).store, open(t, cfg).store
	key := func(user, route string) string { return fmt.Sprintf(`["m",{},{"route":%q,"user":%q}]`, route, user) }
	want := map[string]int{}
	for n := range 50 {
		for _, user := range []string{"alice", "alice2", `"user":"alice"`} {
			k := key(user, fmt.Sprint(n))
			a.Add(k, 1)
			b.Add(k, 2)
			if user != "alice" {
				want[k] = 3
			}
		}
	}
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, b.Flush(t.Context()))

	gone := 0
	for shard := range cfg.Shards {
		var n int
		_, err := fmt.Sscan(server.CLI("EVAL", string(script), "1", fmt.Sprintf("{tally:%d}:totals", shard), `"user":"alice"`), &n)
		require.NoError(t, err)
		gone += n
	}
	assert.Equal(t, 50, gone)
	assert.Equal(t, want, read(t, b))

	a.Add(key("alice", "7"), 5)
	a.Add(key("alice2", "7"), 5)
	want[key("alice", "7")], want[key("alice2", "7")] = 5, 8
	require.NoError(t, a.Flush(t.Context()))
	assert.Equal(t, 5, a.Get(key("alice", "7")))
	assert.Equal(t, want, read(t, b), "at once, and no key comes back as 0")
	assert.Equal(t, map[string]capability.Forgotten{"m": {Keys: 1, Total: 1}}, a.Forgotten())
}

// The script finds what `erase` of tally_memory finds, however the attribute is written.
func TestEraseScriptIsByValue(t *testing.T) {
	script, err := os.ReadFile("erase.lua")
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Near()})
	defer func() { require.NoError(t, client.Close()) }()
	names := rapid.OneOf(rapid.SampledFrom([]string{"id", "a", "", `i\d`, `"id":7`, "}", "\u2028"}), valuetest.Text())
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Just(int64(1<<60)), rapid.Int64()).Draw(t, "int")
		value := keyValue(n, valuetest.Number(true).Draw(t, "double"))
		values := rapid.SliceOfN(value, 1, 8).Draw(t, "values")
		wanted := values[0]
		if rapid.Bool().Draw(t, "another") {
			wanted = value.Draw(t, "wanted")
		}
		name := names.Draw(t, "name")
		argument := string(serieskey.AppendValue(append(serieskey.AppendString(nil, name), ':'), wanted))
		want := serieskey.WantValue(wanted)
		if wanted.Kind() == serieskey.String {
			want = serieskey.WantText(wanted.AsString())
			if text, err := json.Marshal(wanted.AsString()); err == nil && rapid.Bool().Draw(t, "other escapes") {
				argument = string(append(serieskey.AppendString(nil, name), ':')) + string(text)
			}
		}
		var kept []string
		fields := map[string]any{"#1": 1}
		for i, v := range values {
			member := serieskey.Attribute{Name: names.Draw(t, "name of it"), Value: v}
			if rapid.Bool().Draw(t, "named") {
				member.Name = name
			}
			key := serieskey.Key{Metric: fmt.Sprint("m{\"", i), Resource: []serieskey.Attribute{{Name: "~", Value: serieskey.StringValue(argument)}}}
			if rapid.Bool().Draw(t, "of the resource") {
				key.Resource = []serieskey.Attribute{member}
			} else {
				key.Attributes = []serieskey.Attribute{member}
			}
			text := key.String()
			fields[":"+text] = "1"
			erased := false
			serieskey.Members(text, func(_ bool, n, value string) {
				erased = erased || serieskey.Shown(n) == serieskey.CleanName(name, 0) && want.Is(value)
			})
			if !erased {
				kept = append(kept, ":"+text)
			}
		}
		require.NoError(t, client.FlushDB(context.Background()).Err())
		require.NoError(t, client.HSet(context.Background(), "totals", fields).Err())
		gone, err := client.Eval(context.Background(), string(script), []string{"totals"}, argument).Int()
		require.NoError(t, err, argument)
		left, err := client.HKeys(context.Background(), "totals").Result()
		require.NoError(t, err)
		left = slices.DeleteFunc(left, func(field string) bool { return field[0] != ':' })
		require.ElementsMatch(t, kept, left, argument)
		require.Equal(t, len(values)-len(kept), gone)
	})
	for _, argument := range []string{"", "id", `"id"`, `"id":`, `"id": 7`, `"id":null`, `"id":[1]`, `"id":7,"a":1`, `"id":x`, `"id":"`, `"id`} {
		assert.ErrorContains(t, client.Eval(t.Context(), string(script), []string{"totals"}, argument).Err(), "must be", argument)
	}
}

// keyValue draws values of keys that have to do with n and f: equal, shown alike, or next to each other.
func keyValue(n int64, f float64) *rapid.Generator[serieskey.Value] {
	return rapid.Custom(func(t *rapid.T) serieskey.Value {
		near := n + rapid.Int64Range(-1, 1).Draw(t, "near")
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0, 1:
			return serieskey.IntValue(near)
		case 2:
			return serieskey.DoubleValue(float64(near))
		case 3:
			return serieskey.DoubleValue(f)
		case 4:
			return serieskey.StringValue(serieskey.DoubleValue(f).AsString())
		case 5:
			return serieskey.BoolValue(n > 0)
		}
		return serieskey.StringValue(valuetest.Text().Draw(t, "text"))
	})
}

// The script takes all keys of a metric, and of no other, whatever it is called.
func TestEraseScriptTakesAMetric(t *testing.T) {
	script, err := os.ReadFile("erase.lua")
	require.NoError(t, err)
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 1
	s := open(t, cfg).store
	names := []string{"m", "m.more", "", `"m"`, "[", "m\",", "日本", "M", "\u2028"}
	keys := map[string][]string{}
	for _, name := range names {
		for n := range 3 {
			key := serieskey.Key{Metric: name, Attributes: []serieskey.Attribute{{Name: "m", Value: serieskey.IntValue(int64(n))}}}.String()
			keys[name] = append(keys[name], key)
			s.Add(key, 2)
		}
	}
	require.NoError(t, s.Flush(t.Context()))
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { require.NoError(t, client.Close()) }()
	erase := func(argument string) (int, error) {
		return client.Eval(t.Context(), string(script), []string{"{tally:0}:totals"}, argument).Int()
	}
	for i, name := range names {
		n, err := erase("[" + string(serieskey.AppendString(nil, name)) + "]")
		require.NoError(t, err)
		assert.Equal(t, 3, n, "%q", name)
		left, err := client.HLen(t.Context(), "{tally:0}:totals").Result()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, int(left), 2*3*(len(names)-i-1), "%q", name)
	}
	for _, bad := range []string{"[", "[]", "[1]", `["m"`, `["m"] `, `["m",1]`, `[["m"]]`} {
		_, err := erase(bad)
		assert.ErrorContains(t, err, "the metric must be", "%q", bad)
	}
}

// A Collector that adds up something else under a name than the fleet has says so, and one that adds up the same does
// not.
func TestMeaningsInAFleet(t *testing.T) {
	server := redistest.Start(t)
	warned := func(unit, sum string) int {
		core, lines := observer.New(zap.WarnLevel)
		set := extensiontest.NewNopSettings(component.MustNewType("tally_redis"))
		set.Logger = zap.New(core)
		e := newExtension(set, testConfig(server.Addr()))
		require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
		s := e.MetricStore().(*redisStore)
		s.Describe(store.Description{Metric: "m", Unit: unit, Sum: sum})
		s.Add(`["m",{},{}]`, 1)
		require.NoError(t, s.Flush(t.Context()))
		require.NoError(t, e.Shutdown(t.Context()))
		return lines.FilterMessageSnippet("adds up something else").Len()
	}
	assert.Zero(t, warned("{record}", "records"))
	assert.Zero(t, warned("{record}", "records"))
	assert.Equal(t, 1, warned("By", "bytes"))
	assert.Zero(t, warned("By", "bytes"), "the last word counts")
}
