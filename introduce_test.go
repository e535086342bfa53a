// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/internal/apply"
	"github.com/logtally/tallyprocessor/internal/meaning"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// startOn starts a processor on a host and leaves it running; with an error there is none.
func startOn(t *testing.T, id, yaml string, host component.Host) (processor.Logs, error) {
	t.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	require.NoError(t, set.ID.UnmarshalText([]byte(id)))
	p, err := NewFactory().CreateLogs(t.Context(), set, testConfig(t, yaml), consumertest.NewNop())
	require.NoError(t, err)
	if err := p.Start(t.Context(), host); err != nil {
		require.NoError(t, p.Shutdown(t.Context()))
		return nil, err
	}
	t.Cleanup(func() { _ = p.Shutdown(t.Context()) })
	return p, nil
}

// meanings are configurations of a metric; no two add up the same.
var meanings = []string{
	`{}`, `{unit: "{request}"}`, `{sum: bytes}`, `{sum: bytes, unit: kBy}`, `{sum: 'attributes["n"]'}`, `{sum: 'attributes["m"]'}`,
}

// Of two processors that run at once, count under one name in one store, and mean something else, the second does not
// start.
func TestTwoMeaningsAtOnce(t *testing.T) {
	for i, first := range meanings {
		for j, second := range meanings {
			host := hostWith(NewMemoryStore())
			p, err := startOn(t, "tally/a", `{store: shared, logs: {m: `+first+`, other: {}}}`, host)
			require.NoError(t, err)
			_, err = startOn(t, "tally/b", `{store: shared, logs: {m: `+second+`}}`, host)
			if i == j {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, meaning.ErrOther, "%s and %s", first, second)
			assert.ErrorContains(t, err, "`logs::m`")
			require.NoError(t, p.Shutdown(t.Context()))
			_, err = startOn(t, "tally/b", `{store: shared, logs: {m: `+second+`}}`, host)
			require.NoError(t, err, "the first has ended, and has counted nothing")
		}
	}
}

// A metric that means something else than before does not go on in the old totals.
func TestMeaningThatChanges(t *testing.T) {
	batch := logs(3, func(_ int, r plog.LogRecord) { r.Attributes().PutInt("n", 2); r.Attributes().PutInt("m", 5) })
	for i, before := range meanings {
		for j, after := range meanings {
			store := NewMemoryStore()
			run(t, "tally", `{store: shared, logs: {m: `+before+`}}`, hostWith(store), batch)
			sum, _ := sumOf(t, store)
			_, err := startOn(t, "tally", `{store: shared, logs: {m: `+after+`}}`, hostWith(store))
			if i == j {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, apply.ErrOtherMeaning, "%s and then %s", before, after)
			assert.ErrorContains(t, err, "`logs::m`")
			store.Forget(func(string) bool { return true })
			_, err = startOn(t, "tally", `{store: shared, logs: {m: `+after+`}}`, hostWith(store))
			require.NoError(t, err, "the old totals are gone")
			assert.Positive(t, sum)
		}
	}
}

// Whatever the configuration was before, keys that the present one cannot have take no place, and those that it can
// have keep theirs.
func TestKeysOfAnotherShape(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		before, after := randomShape(r), randomShape(r)
		store := NewMemoryStore()
		batch := logs(40, func(_ int, record plog.LogRecord) {
			for _, name := range []string{"a", "b", "b.c", "d"} {
				if r.IntN(3) > 0 {
					record.Attributes().PutInt(name, int64(r.IntN(3)))
				}
			}
		})
		run(t, "tally", before, hostWith(store), batch)
		started, err := startOn(t, "tally", after, hostWith(store))
		require.NoError(t, err)
		held, _ := started.(*logsProcessor).applier.Keys(0)
		want := 0
		for total := range store.Totals(t.Context()) {
			if canCount(t, after, total.Key) {
				want++
			}
		}
		if only := started.(*logsProcessor).extractor.OnlyKey(0); only != "" && store.Get(only) == 0 {
			want++ // it is there before its first record
		}
		require.Equal(t, want, held, "seed %d: %s, then %s", seed, before, after)
		if before == after {
			_, keys := sumOf(t, store)
			require.Equal(t, keys, held)
		}
	}
}

// canCount says whether a configuration counts some record under a key: one that has the attributes of the key does it.
func canCount(t *testing.T, yaml, text string) bool {
	t.Helper()
	key, err := serieskey.Decode(text)
	require.NoError(t, err)
	batch := plog.NewLogs()
	rl := batch.ResourceLogs().AppendEmpty()
	for _, a := range key.Resource {
		rl.Resource().Attributes().PutStr(a.Name, a.Value.AsString())
	}
	record := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	for _, a := range key.Attributes {
		record.Attributes().PutInt(a.Name, a.Value.Int())
	}
	fresh := NewMemoryStore()
	run(t, "tally", yaml, hostWith(fresh), batch)
	return fresh.Get(text) == 1
}

// randomShape returns a configuration that counts by some attributes, without a limit that it could reach.
func randomShape(r *rand.Rand) string {
	attributes := ""
	for _, name := range []string{"a", "b", "b*", "d"} {
		switch kind := r.IntN(3); {
		case kind == 1 && name != "b*":
			attributes += fmt.Sprintf("{key: %q, optional: true},", name)
		case kind == 2:
			attributes += fmt.Sprintf("{key: %q},", name)
		}
	}
	resource := []string{"", "resource_attributes: [], ", "resource_attributes: [service.name], ", "resource_attributes: ['*.name'], ", "resource_attributes: ['host.*'], "}[r.IntN(5)]
	return fmt.Sprintf(`{store: shared, %slogs: {m: {attributes: [%s]}}}`, resource, attributes)
}

// An overflow key that the configuration cannot have takes none of the places for those.
func TestOverflowKeysOfAnotherShape(t *testing.T) {
	store := NewMemoryStore()
	store.Add(`["m",{"service.name":"checkout"},{"otel.metric.overflow":true}]`, 1)
	store.Add(`["m",{"service.name":"checkout"},{"kept":1,"otel.metric.overflow":true}]`, 1)
	store.Add(`["m",{"service.name":"checkout"},{"gone":1,"otel.metric.overflow":true}]`, 1)
	p, err := startOn(t, "tally", `{store: shared, logs: {m: {attributes: [{key: kept, keep_on_overflow: true}, {key: gone}]}}}`, hostWith(store))
	require.NoError(t, err)
	keys, overflow := p.(*logsProcessor).applier.Keys(0)
	assert.Equal(t, []int{0, 2}, []int{keys, overflow})
}

func TestOnlyKey(t *testing.T) {
	for yaml, want := range map[string]string{
		`{resource_attributes: [], logs: {m: {conditions: ['body == "x"']}}}`: serieskey.Key{Metric: "m"}.String(),
		`{logs: {m: {}}}`: "",
		`{resource_attributes: [], logs: {m: {attributes: [{key: "a*"}]}}}`:              "",
		`{resource_attributes: [service.name], logs: {m: {}}}`:                           "",
		`{resource_attributes: [], logs: {m: {attributes: [{key: a, optional: true}]}}}`: "",
	} {
		x, err := testConfig(t, yaml).extractor()
		require.NoError(t, err)
		assert.Equal(t, want, x.OnlyKey(0), yaml)
	}
}

// Processors that count one metric in one store have one limit, the same before a restart and after it.
func TestOneLimitForAMetricInAStore(t *testing.T) {
	yaml := func(limit int) string {
		return fmt.Sprintf(`{store: shared, resource_attributes: [], logs: {m: {attributes: [{key: v}], cardinality_limit: %d}}}`, limit)
	}
	value := func(from, n int) plog.Logs {
		return logs(n, func(i int, r plog.LogRecord) { r.Attributes().PutInt("v", int64(from+i)) })
	}
	store := NewMemoryStore()
	for life := range 3 {
		a, err := startOn(t, "tally/a", yaml(10), hostWith(store))
		require.NoError(t, err)
		b, err := startOn(t, "tally/b", yaml(12), hostWith(store))
		require.NoError(t, err)
		require.NoError(t, a.ConsumeLogs(t.Context(), value(0, 6)))
		require.NoError(t, b.ConsumeLogs(t.Context(), value(100, 4)))
		require.NoError(t, a.ConsumeLogs(t.Context(), value(200, 5))) // none of them has room
		require.NoError(t, b.ConsumeLogs(t.Context(), value(300, 5))) // two have: the limit is b's own
		keys, overflow := a.(*logsProcessor).applier.Keys(0)
		assert.Equal(t, []int{12, 1}, []int{keys, overflow})
		require.NoError(t, a.Shutdown(t.Context()))
		require.NoError(t, b.Shutdown(t.Context()))
		for _, v := range []int{0, 5, 100, 103} {
			assert.Equal(t, life+1, store.Get(fmt.Sprintf(`["m",{},{"v":%d}]`, v)))
		}
		assert.Zero(t, store.Get(`["m",{},{"v":200}]`))
		sum, distinct := sumOf(t, store)
		assert.Equal(t, []int{20 * (life + 1), 13}, []int{sum, distinct})
	}
}

// Processors of one metric hold together the keys that any of them can have, in whatever order they start and end, and
// whatever came and went meanwhile: as one does that starts last over the same store.
func TestKeysInCommonOfSeveralStarts(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 11))
		shapes := []string{randomShape(r), randomShape(r)}
		store := NewMemoryStore(WithForgetAfter(time.Hour))
		before := logs(30, func(_ int, record plog.LogRecord) { putSome(r, record) })
		run(t, "tally/before", shapes[r.IntN(2)], hostWith(store), before)
		want := map[string]bool{}
		for n := range 5 {
			shape := shapes[r.IntN(2)]
			p, err := startOn(t, fmt.Sprintf("tally/%d", n), shape, hostWith(store))
			require.NoError(t, err)
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, func(_ int, record plog.LogRecord) { putSome(r, record) })))
			settle(t, p)
			want[shape] = true
			if r.IntN(2) == 0 {
				store.Forget(func(key string) bool { return (len(key)+int(seed))%3 == 0 })
			}
			held, _ := p.(*logsProcessor).applier.Keys(0)
			possible := 0
			for total := range store.Totals(t.Context()) {
				if slices.ContainsFunc(shapes, func(s string) bool { return want[s] && canCount(t, s, total.Key) }) {
					possible++
				}
			}
			if p.(*logsProcessor).extractor.OnlyKey(0) != "" {
				break // it is there before its first record, and may be forgotten
			}
			require.Equal(t, possible, held, "seed %d: %v", seed, shapes)
		}
	}
}

func putSome(r *rand.Rand, record plog.LogRecord) {
	for _, name := range []string{"a", "b", "b.c", "d"} {
		if r.IntN(3) > 0 {
			record.Attributes().PutInt(name, int64(r.IntN(3)))
		}
	}
}

// Ten processors that count one metric take its keys once.
func BenchmarkStartOfOneMetric(b *testing.B) {
	const processors, keys = 10, 100_000
	store := NewMemoryStore()
	for i := range keys {
		store.Inc(fmt.Sprintf(`["m",{"service.name":"checkout"},{"http.route":"/cart","user":"u%d"}]`, i))
	}
	for b.Loop() {
		var running []func()
		for range processors {
			p := startedOver(b, store, `logs: {m: {cardinality_limit: 0, attributes: [{key: http.route}, {key: user}]}}`)
			running = append(running, func() { require.NoError(b, p.Shutdown(b.Context())) })
		}
		for _, end := range running {
			end()
		}
	}
}
