package tallyprocessor

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/shown"
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

// publishedOn returns what publishes one metric with a limit, and what reads it.
func publishedOn(t *testing.T, limit int) (*published, metric.Reader) {
	t.Helper()
	reader := metric.NewManualReader()
	set := processortest.NewNopSettings(metadata.Type)
	set.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader))
	return newPublished(set, []namedMetric{{name: "m", MetricConfig: MetricConfig{CardinalityLimit: &limit}}}, NewMemoryStore()), reader
}

func pageKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`["m",{},{"i":"%d"}]`, i)
	}
	return keys
}

// Where scopes are shown the page is part of the series: it is the same in every process, in whichever order keys come and go.
func TestPagesDoNotDependOnArrival(t *testing.T) {
	for _, limit := range []int{0, 1, 1000, 10_000} {
		keys := pageKeys(min(3000, 2*limit+1))
		if limit == 0 {
			keys = pageKeys(3000)
		}
		var first map[string]string
		for range 3 {
			p, reader := publishedOn(t, limit)
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
		p, reader := publishedOn(t, limit)
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
		p, reader := publishedOn(t, 1)
		for _, key := range pageKeys(n) {
			require.NoError(t, p.add(0, key))
		}
		scopes, sizes := readPages(t, reader, "m")
		assert.Len(t, scopes, n)
		assert.Len(t, sizes, (n-1)/pageCapacity+1)
	}
}

// Keys that are one series in Prometheus stay at the largest number together, as each of them does.
func TestSumsOnPagesSaturate(t *testing.T) {
	page := collectorPage(t)
	p := page.start(NewFactory(), "tally", testConfig(t, `{resource_attributes: [], logs: {m: {attributes: [{key: k}], value: 'attributes["n"]'}}}`))
	for i := range 5 {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(2, func(j int, r plog.LogRecord) {
			r.Attributes().PutInt("n", math.MaxInt64/int64(1+i%2))
			r.Attributes().PutInt("k", 7)
			if j == 0 {
				r.Attributes().PutStr("k", "7")
			}
		})))
		settle(t, p)
		if i > 0 {
			assert.Equal(t, map[string]float64{"k=7,processor=tally": shown.Largest}, page.scrape("m"))
			assert.EqualValues(t, shown.Largest, page.scrape("otelcol_processor_tally_amount_counted")["metric=m,processor=tally"])
		}
	}
}

// A metric that has one key only is at 0 from the start, and counted and forgotten as any other.
func TestKnownSeriesBeginAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := collectorPage(t)
		p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
forget_after: 1h
logs: {one: {cardinality_limit: 1}, none: {conditions: ['false']}, by: {attributes: [{key: k, optional: true}]}}`))
		keys := func() float64 { return page.scrape("otelcol_processor_tally_keys")["metric=one,processor=tally"] }
		zero := map[string]float64{"processor=tally": 0}
		assert.Equal(t, []any{zero, zero, map[string]float64{}}, []any{page.scrape("one"), page.scrape("none"), page.scrape("by")})
		for range 2 {
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, nil)))
			settle(t, p)
			assert.Equal(t, []any{map[string]float64{"processor=tally": 3}, zero}, []any{page.scrape("one"), page.scrape("none")})
			assert.EqualValues(t, 1, keys())
			time.Sleep(2 * time.Hour)
			assert.Empty(t, page.scrape("one"))
			assert.Zero(t, keys())
		}
	})
}

// With all resource attributes, or some, nobody knows the keys beforehand.
func TestUnknownSeriesDoNotBegin(t *testing.T) {
	for _, yaml := range []string{`{}`, `resource_attributes: [service.name]`, `{resource_attributes: [], key_length_limit: 5}`} {
		page := collectorPage(t)
		page.start(NewFactory(), "tally", testConfig(t, yaml))
		assert.Empty(t, page.scrape("log_record_count"), yaml)
	}
	page := newMetricsPage(t)
	p := page.start(NewFactory(WithMetricStore(NewMemoryStore())), "tally", testConfig(t, `resource_attributes: []`))
	assert.Empty(t, page.scrape("log_record_count"))
	require.NoError(t, p.Shutdown(context.Background()))
}
