// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// hold begins a collection that does not end before release is called, which waits for its end.
func (p *metricsPage) hold() (release func()) {
	p.t.Helper()
	inside, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	meter := p.provider.Meter("slow")
	gauge, err := meter.Int64ObservableGauge("slow")
	require.NoError(p.t, err)
	registration, err := meter.RegisterCallback(func(context.Context, metric.Observer) error {
		close(inside)
		<-goOn
		return nil
	}, gauge)
	require.NoError(p.t, err)
	go func() {
		defer close(ended)
		_, _ = p.registry.Gather()
	}()
	<-inside
	return func() {
		close(goOn)
		<-ended
		require.NoError(p.t, registration.Unregister())
	}
}

// within fails the test if f takes so long that it must be waiting for something.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "it waits for the collection")
	}
}

// requireShown wants the page to have the totals of the store, and nothing else.
func requireShown(t *testing.T, page *metricsPage, store *MemoryStore, names ...string) {
	t.Helper()
	want := map[string]map[string]float64{}
	for total := range store.Totals(t.Context()) {
		key, err := serieskey.Decode(total.Key)
		require.NoError(t, err)
		if want[key.Metric] == nil {
			want[key.Metric] = map[string]float64{}
		}
		want[key.Metric][fmt.Sprintf("i=%s,processor=tally", key.Attributes[0].Value.AsString())] += float64(total.Value)
	}
	for _, name := range names {
		got := page.scrape(name)
		require.Len(t, got, len(want[name]))
		for labels, value := range want[name] {
			require.InDelta(t, value, got[labels], 0, labels)
		}
	}
}

// Keys come, go and come back while a collection goes on: nobody who counts or forgets waits for it, and afterwards the
// page has them all.
func TestCountingDoesNotWaitForACollection(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		page := collectorPage(t)
		p := page.start(NewFactory(), "tally", testConfig(t, `
resource_attributes: []
logs: {c: {attributes: [{key: i}], cardinality_limit: 0}, d: {attributes: [{key: i}], conditions: ['attributes["i"] > 20']}}`))
		store := p.(*logsProcessor).applier.Store.(*MemoryStore)
		for range 5 {
			release := page.hold()
			within(t, func() {
				for range 30 {
					n := r.IntN(60)
					require.NoError(t, p.ConsumeLogs(t.Context(), logs(20, func(_ int, record plog.LogRecord) {
						record.Attributes().PutInt("i", int64(n+r.IntN(5)))
					})))
					if r.IntN(3) == 0 {
						store.Forget(func(string) bool { return r.IntN(3) == 0 })
					}
				}
			})
			release()
			settle(t, p)
			requireShown(t, page, store, "c", "d")
		}
	}
}

// A collection that does not end holds Shutdown no longer than its deadline, and what is published late does not
// outlive the processor.
func TestShutdownDuringACollection(t *testing.T) {
	page := collectorPage(t)
	factory, cfg := NewFactory(), testConfig(t, `{resource_attributes: [], logs: {c: {attributes: [{key: i}]}}}`)
	p := page.start(factory, "tally", cfg)
	release := page.hold()
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(5, func(i int, record plog.LogRecord) { record.Attributes().PutInt("i", int64(i)) })))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Shutdown(ctx), context.DeadlineExceeded)
	release()
	require.NoError(t, p.(*logsProcessor).exhibit.Totals.Wait(t.Context()))
	assert.Len(t, page.scrape("c"), 5)
	p = page.start(factory, "tally", cfg)
	assert.Empty(t, page.scrape("c"))
	require.NoError(t, p.Shutdown(ctx), "nothing is to be published")
}

// The lasting difference is what is published, in whatever order changes come.
func TestChangesCancelOut(t *testing.T) {
	page := collectorPage(t)
	p := page.start(NewFactory(), "tally", testConfig(t, `{resource_attributes: [], logs: {c: {}}}`))
	totals := p.(*logsProcessor).exhibit.Totals
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		release := page.hold()
		shown := map[string]bool{}
		for range 200 {
			key := fmt.Sprintf(`["c",{},{"i":%d}]`, r.IntN(2000))
			if shown[key] = !shown[key]; shown[key] {
				totals.Add(0, key)
			} else {
				totals.Remove(0, key)
			}
			assert.LessOrEqual(t, totals.Waiting(), len(shown))
		}
		release()
		require.NoError(t, totals.Wait(t.Context()))
		series := page.scrape("c")
		for key, is := range shown {
			decoded, err := serieskey.Decode(key)
			require.NoError(t, err)
			_, on := series[fmt.Sprintf("i=%s,processor=tally", decoded.Attributes[0].Value.AsString())]
			require.Equal(t, is, on, key)
			if is {
				totals.Remove(0, key)
			}
		}
		require.NoError(t, totals.Wait(t.Context()))
	}
}

// BenchmarkNewKeys tells how long ConsumeLogs takes with a key that is new, over 100,000 series, without scrapes and
// with them.
func BenchmarkNewKeys(b *testing.B) {
	const series, calls = 100_000, 1000
	page := newMetricsPage(b)
	p := page.start(NewFactory(), "tally", testConfig(b, `{resource_attributes: [], logs: {c: {attributes: [{key: i}], cardinality_limit: 0}}}`))
	n := int64(0)
	consume := func(keys int) {
		require.NoError(b, p.ConsumeLogs(b.Context(), logs(keys, func(_ int, record plog.LogRecord) {
			n++
			record.Attributes().PutInt("i", n)
		})))
	}
	for range series / 1000 {
		consume(1000)
	}
	waitUntilShown(b, p)
	for b.Loop() {
		for _, scraped := range []bool{false, true} {
			stop, stopped := make(chan struct{}), make(chan struct{})
			go scrapeUntil(page, scraped, stop, stopped)
			took := make([]time.Duration, calls)
			for i := range took {
				began := time.Now()
				consume(1)
				took[i] = time.Since(began)
				time.Sleep(2500 * time.Microsecond)
			}
			close(stop)
			<-stopped
			slices.Sort(took)
			name := map[bool]string{false: "quiet", true: "scraped"}[scraped]
			b.ReportMetric(took[calls-calls/1000].Seconds()*1000, "ms/p99.9-"+name)
			b.ReportMetric(took[calls/2].Seconds()*1000, "ms/p50-"+name)
		}
	}
}

func waitUntilShown(b *testing.B, p processor.Logs) {
	b.Helper()
	require.NoError(b, p.(*logsProcessor).exhibit.Totals.Wait(b.Context()))
}

func scrapeUntil(page *metricsPage, scrape bool, stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
			if scrape {
				_, _ = page.registry.Gather()
			}
		}
	}
}
