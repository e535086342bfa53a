// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// million is a metric of a million keys: a tenant of ten thousand, a route, a status, and a user of which there are a
// million.
func million(keys int, total func(i int) int) *table.Snapshot {
	b := table.NewBuilder(100_000)
	b.Begin()
	for i := range keys {
		b.Add(fmt.Sprintf(`["m",{"service.name":"service-%d"},{"code":%d,"tenant":"tenant-%d","user":"user-%d"}]`,
			i%20, 200+i%5, i%10_000, i), total(i), epoch, epoch)
	}
	return b.End(epoch.Add(time.Second), true)
}

// BenchmarkMillion: a top 20 of a million keys.
func BenchmarkMillion(b *testing.B) {
	for _, shape := range []struct {
		name  string
		total func(i int) int
	}{
		{"spread", func(i int) int { return 1 + i*7919%1_000_003 }},
		{"equal", func(int) int { return 1 }},
	} {
		s := million(1_000_000, shape.total)
		for _, tt := range []struct {
			name string
			q    Query
		}{
			{"total", Query{}},
			{"rate", Query{Order: ByRate10s}},
			{"filter", Query{Where: []Condition{{Reference: Reference{Name: "code"}, Text: "200"}}}},
			{"contains", Query{Where: []Condition{{Reference: Reference{Name: "user"}, Operator: Contains, Text: "42"}}}},
			{"group", Query{GroupBy: []Reference{{Name: "tenant"}}}},
			{"group2", Query{GroupBy: []Reference{{Name: "tenant"}, {Name: "service.name"}}}},
			{"group-unique", Query{GroupBy: []Reference{{Name: "user"}}}},
		} {
			tt.q.Limit = 20
			b.Run(shape.name+"/"+tt.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Run(b.Context(), s.Metrics["m"], s.Rates, tt.q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
