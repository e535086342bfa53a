package tallyprocessor

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

const (
	benchmarkResources = 8
	benchmarkRecords   = 8192
)

// benchmarkLogs are 8192 records in 8 resources, with six attributes each.
func benchmarkLogs() plog.Logs {
	ld := plog.NewLogs()
	for r := range benchmarkResources {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", r))
		rl.Resource().Attributes().PutStr("deployment.environment.name", "production")
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := range benchmarkRecords / benchmarkResources {
			record := records.AppendEmpty()
			record.SetSeverityNumber(plog.SeverityNumber(1 + i%24))
			record.Body().SetStr("GET /api/v1/items 200 in 12 ms")
			a := record.Attributes()
			a.PutStr("http.request.method", []string{"GET", "GET", "POST"}[i%3])
			a.PutStr("url.path", fmt.Sprint("/api/v1/items/", i%10))
			a.PutInt("http.response.status_code", int64(200+i%5))
			a.PutStr("client.address", "10.0.0.1")
			a.PutStr("user_agent.original", "curl/8.0")
			a.PutInt("http.response.body.size", int64(i))
		}
	}
	ld.MarkReadOnly()
	return ld
}

// BenchmarkConsumeLogs counts batches of 8192 records until all is applied, so that the time of the workers is part of
// it. One operation is one batch; ns/record is the figure to read.
func BenchmarkConsumeLogs(b *testing.B) {
	for _, bb := range []struct{ name, yaml string }{
		{"no-attribute", ``},
		{"one-attribute", `logs: {c: {attributes: [{key: url.path}]}}`},
		{"three-attributes-and-condition", `
logs:
  c:
    conditions: [severity_number >= SEVERITY_NUMBER_INFO]
    attributes: [{key: http.request.method}, {key: url.path}, {key: http.response.status_code}]`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg := testConfig(b, bb.yaml)
			ld := benchmarkLogs()
			p, err := NewFactory().CreateLogs(b.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Start(b.Context(), componenttest.NewNopHost()); err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if err := p.ConsumeLogs(ctx, ld); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Shutdown(ctx); err != nil { // until all is applied
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarkRecords, "ns/record")
		})
	}
}
