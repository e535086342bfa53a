// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadatatest"
)

// BenchmarkLoad: a million keys, which a processor goes on counting with all cores, alone and then with a console that
// has 50 subscribers and answers 10 questions a second. It reports what the questions took and what is left of the
// counting.
func BenchmarkLoad(b *testing.B) {
	store := memory.New()
	for i := range 1_000_000 {
		store.Add(fmt.Sprintf(`["http.requests",{"service.name":"service-%d"},{"code":%d,"route":"/r/%d","user":"user-%d"}]`, i%20, 200+i%5, i%500, i), 1+i%7919)
	}
	const phase = 10 * time.Second
	var alone, together, latencies, cpu []float64
	for range 3 {
		alone = append(alone, counted(b, store, phase))
		func() {
			cfg := createDefaultConfig().(*Config)
			cfg.Store, cfg.Server.NetAddr.Endpoint = storeID, "127.0.0.1:0"
			c := newConsole(metadatatest.NewSettings(componenttest.NewTelemetry()), cfg)
			require.NoError(b, c.Start(b.Context(), host{storeID: storeExtension{store: store}}))
			defer func() { require.NoError(b, c.Shutdown(context.Background())) }()
			require.Eventually(b, func() bool { return c.hub.executor.sampler.newest.Load().Keys >= 1_000_000 }, time.Minute, tick)
			ctx, cancel := context.WithCancel(b.Context())
			var running sync.WaitGroup
			for i := range 50 {
				running.Go(func() { watch(ctx, "http://"+c.address, i) })
			}
			var mu sync.Mutex
			running.Go(func() {
				every := time.NewTicker(100 * time.Millisecond)
				defer every.Stop()
				for i := 0; ; i++ {
					select {
					case <-ctx.Done():
						return
					case <-every.C:
					}
					running.Go(func() {
						if took, ok := timed(ctx, "http://"+c.address, i); ok {
							mu.Lock()
							defer mu.Unlock()
							latencies = append(latencies, took.Seconds()*1000)
						}
					})
				}
			})
			before := cpuTime(b)
			together = append(together, counted(b, store, phase))
			cpu = append(cpu, (cpuTime(b)-before).Seconds()/phase.Seconds())
			cancel()
			running.Wait()
		}()
	}
	http.DefaultClient.CloseIdleConnections()
	slices.Sort(latencies)
	median := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
	b.ReportMetric(latencies[len(latencies)/2], "p50-ms")
	b.ReportMetric(latencies[len(latencies)*99/100], "p99-ms")
	b.ReportMetric(median(alone)/1e6, "alone-Mrecords/s")
	b.ReportMetric(median(together)/1e6, "with-Mrecords/s")
	b.ReportMetric(median(together)/median(alone), "ratio")
	b.ReportMetric(median(cpu), "cores")
	b.ReportMetric(0, "ns/op")
}

// questionOf is one of some that people ask.
func questionOf(i int) string {
	q := url.Values{"metric": {"http.requests"}}
	switch i % 5 {
	case 0:
		q.Set("order", "rate_10s")
	case 1:
		q.Set("group_by", "resource.service.name")
	case 2:
		q.Set("where", fmt.Sprintf("route=/r/%d", i%500))
	case 3:
		q.Set("group_by", "code")
		q.Set("order", "rate_1m")
	}
	return q.Encode()
}

func timed(ctx context.Context, address string, i int) (time.Duration, bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/api/v1/totals?"+questionOf(i), http.NoBody)
	if err != nil {
		return 0, false
	}
	start := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return time.Since(start), err == nil && response.StatusCode == http.StatusOK
}

// watch reads a live stream until ctx ends.
func watch(ctx context.Context, address string, i int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/api/v1/live?"+questionOf(i), http.NoBody)
	if err != nil {
		return
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body) // it ends with ctx
	}
}

// counted returns how many records a second two goroutines count.
func counted(b *testing.B, store store.MetricStore, phase time.Duration) float64 {
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(onlyCounting{store.(*memory.Store)}))
	cfg := factory.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(map[string]any{
		"logs": map[string]any{"http.requests": map[string]any{"attributes": []any{map[string]any{"key": "route"}}}},
	}).Unmarshal(cfg))
	p, err := factory.CreateLogs(b.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), host{}))
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range 1024 {
		records.AppendEmpty().Attributes().PutStr("route", fmt.Sprintf("/r/%d", i%50))
	}
	var n atomic.Int64
	var running sync.WaitGroup
	end := time.Now().Add(phase)
	for range 2 {
		running.Go(func() {
			for time.Now().Before(end) {
				if p.ConsumeLogs(context.Background(), logs) == nil {
					n.Add(1024)
				}
			}
		})
	}
	running.Wait()
	require.NoError(b, p.Shutdown(context.Background()))
	return float64(n.Load()) / phase.Seconds()
}

// onlyCounting keeps the processor from listing a million keys at its start.
type onlyCounting struct{ store *memory.Store }

func (o onlyCounting) Inc(key string)                { o.store.Inc(key) }
func (o onlyCounting) Get(key string) int            { return o.store.Get(key) }
func (o onlyCounting) Add(key string, n int)         { o.store.Add(key, n) }
func (o onlyCounting) Bind(key string) store.Counter { return o.store.Bind(key) }
func (o onlyCounting) Now() time.Time                { return o.store.Now() }

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
