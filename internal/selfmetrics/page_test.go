// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// readPages returns the scope of each series, and how many series each scope has.
func readPages(t *testing.T, reader metric.Reader, name string) (scopes map[string]string, sizes map[string]int) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	scopes, sizes = map[string]string{}, map[string]int{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != name {
				continue
			}
			text := fmt.Sprint(scope.Scope.Attributes.MarshalLog())
			sizes[text] += len(sum.DataPoints)
			for _, p := range sum.DataPoints {
				scopes[fmt.Sprint(p.Attributes.MarshalLog())] = text
			}
		}
	}
	return scopes, sizes
}

// pagesOn returns what publishes one metric with a limit, and what reads it.
func pagesOn(t *testing.T, limit int) (*pageSet, metric.Reader) {
	t.Helper()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	return newPageSet(provider, "tally", []store.Description{{Metric: "m", CardinalityLimit: limit}}, memory.New()), reader
}

func pageKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`["m",{},{"i":"%d"}]`, i)
	}
	return keys
}

// Where scopes are shown the page is part of the series: it is the same in every process, in whichever order keys come
// and go.
func TestPagesDoNotDependOnArrival(t *testing.T) {
	for _, limit := range []int{0, 1, 1000, 10_000} {
		keys := pageKeys(min(3000, 2*limit+1))
		if limit == 0 {
			keys = pageKeys(3000)
		}
		var first map[string]string
		for range 3 {
			p, reader := pagesOn(t, limit)
			rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			for _, key := range keys[:len(keys)/2] {
				require.NoError(t, p.add(0, key))
			}
			for _, key := range keys[:len(keys)/2] {
				p.remove(0, key)
			}
			for _, key := range keys {
				require.NoError(t, p.add(0, key))
			}
			scopes, _ := readPages(t, reader, "m")
			require.Len(t, scopes, len(keys))
			if first == nil {
				first = scopes
			}
			assert.Equal(t, first, scopes, "limit %d", limit)
		}
	}
}

// The keys of a full metric, overflow keys among them, fit on its regular pages.
func TestRegularPagesHaveRoom(t *testing.T) {
	for _, limit := range []int{1, 799, 800, 801, 10_000} {
		p, reader := pagesOn(t, limit)
		for _, key := range pageKeys(2*limit + 1) {
			require.NoError(t, p.add(0, key))
		}
		assert.LessOrEqual(t, len(p.pages), regularPages(limit))
		scopes, _ := readPages(t, reader, "m")
		assert.Len(t, scopes, 2*limit+1)
	}
}

// What does not fit on its page is on a page more, and the SDK folds nothing.
func TestFullPages(t *testing.T) {
	for _, n := range []int{pageCapacity - 1, pageCapacity, pageCapacity + 1, 3*pageCapacity + 1} {
		p, reader := pagesOn(t, 1)
		for _, key := range pageKeys(n) {
			require.NoError(t, p.add(0, key))
		}
		scopes, sizes := readPages(t, reader, "m")
		assert.Len(t, scopes, n)
		assert.Len(t, sizes, (n-1)/pageCapacity+1)
	}
}

// The rule for names that clash, as the documentation has it.
func TestLabelRule(t *testing.T) {
	text := func(name string) serieskey.Attribute {
		return serieskey.Attribute{Name: name, Value: serieskey.StringValue(name)}
	}
	p := &pageSet{id: "tally"}
	var got []string
	list, _ := p.labels(serieskey.Key{
		Resource:   []serieskey.Attribute{text("__name__"), text("a.b"), text("a_b"), text("only"), text("processor")},
		Attributes: []serieskey.Attribute{{Name: "a.b", Value: serieskey.IntValue(1)}, {Name: "empty"}, text("processor")},
	})
	for _, l := range list {
		got = append(got, string(l.Key)+"="+l.Value.AsString())
	}
	assert.Equal(t, []string{
		"processor=tally",
		"a.b=1", "attribute.processor=processor",
		"resource_name_=__name__", "resource.a.b=a.b", "resource.a_b_2=a_b", "only=only", "resource.processor=processor",
	}, got)
}

// A key that cannot be published is an error of the publication, and nothing else's.
func TestUnpublishableKey(t *testing.T) {
	p, reader := pagesOn(t, 10)
	require.Error(t, p.add(0, "not a key"))
	require.NoError(t, p.add(0, `["m",{},{}]`))
	scopes, _ := readPages(t, reader, "m")
	assert.Len(t, scopes, 1)
	require.NoError(t, p.stop())
	scopes, _ = readPages(t, reader, "m")
	assert.Empty(t, scopes)
}

// What is frozen shows its last totals, and lets go of the store.
func TestFrozenPages(t *testing.T) {
	reader := metric.NewManualReader()
	own := memory.New()
	totals := NewTotals(metric.NewMeterProvider(metric.WithReader(reader)), "tally", []store.Description{{Metric: "m"}}, own, nil)
	own.Add(`["m",{},{}]`, 5)
	totals.Add(0, `["m",{},{}]`)
	require.NoError(t, totals.Wait(t.Context()))
	totals.Freeze()
	own.Add(`["m",{},{}]`, 5)
	totals.Add(0, `["m",{},{"a":1}]`)
	require.NoError(t, totals.Wait(t.Context()))
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	points := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64]).DataPoints
	require.Len(t, points, 1)
	assert.EqualValues(t, 5, points[0].Value)

	gone := weak.Make(own)
	own = nil
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 10e9, 1e6)
	runtime.KeepAlive(totals)
	require.NoError(t, reader.Collect(t.Context(), &all))
	require.NoError(t, totals.Stop())
}
