// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package extract

// Under the race detector a sync.Pool, ours and OTTL's, drops what it is given at random. `make test` runs these tests
// a second time, without it.

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/plog"
)

// benchmarkLogs are 8192 records in 8 resources, 6 attributes a record.
func benchmarkLogs() plog.Logs {
	ld := plog.NewLogs()
	for r := range 8 {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", r))
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := range 1024 {
			a := records.AppendEmpty().Attributes()
			a.PutStr("http.request.method", []string{"GET", "POST"}[i%2])
			a.PutStr("url.path", fmt.Sprint("/api/v1/", i%5))
			a.PutInt("http.response.status_code", int64(200+i%3))
			a.PutStr("user", fmt.Sprint(i))
			a.PutStr("x", "1")
			a.PutStr("y", "2")
		}
	}
	ld.MarkReadOnly()
	return ld
}

// No allocation for a record in steady state, whether it is counted by its values, or not at all: what is left for a
// batch of 8192 records is a small constant.
func TestAllocationsOfABatch(t *testing.T) {
	ld := benchmarkLogs()
	for name, metrics := range map[string][]Metric{
		"no attribute":     {{Name: "m"}},
		"one attribute":    {{Name: "m", Attributes: []Attribute{{Key: "user"}}}},
		"three attributes": {{Name: "m", Attributes: []Attribute{{Key: "http.request.method"}, {Key: "url.path"}, {Key: "http.response.status_code"}}}},
		"missing":          {{Name: "m", Attributes: []Attribute{{Key: "missing"}}}},
		"plain condition":  {{Name: "m", Conditions: conditions(t, `attributes["y"] == "2"`), Attributes: []Attribute{{Key: "x"}}}},
		"two conditions":   {{Name: "m", Conditions: conditions(t, `severity_number > 9`, `attributes["y"] == "2"`)}},
		"bytes":            {{Name: "m", Attributes: []Attribute{{Key: "x"}}, Amount: Amount{Bytes: true}}},
		"resource":         {{Name: "m", Attributes: []Attribute{{Key: "service.name"}, {Key: "x"}}}},
		"glob":             {{Name: "m", Attributes: []Attribute{{Key: "http.*", Glob: true}}}},
		"five metrics": {
			{Name: "a"},
			{Name: "b", Attributes: []Attribute{{Key: "x"}}},
			{Name: "c", Attributes: []Attribute{{Key: "x"}, {Key: "y"}}},
			{Name: "d", Attributes: []Attribute{{Key: "user"}}},
			{Name: "e", Attributes: []Attribute{{Key: "z", Optional: true}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := New(Settings{Metrics: metrics, ValueLengthLimit: 256})
			var key []byte
			batch := func() {
				b, err := x.Extract(context.Background(), ld)
				if err != nil {
					t.Error(err)
				}
				for i := range b.Len() {
					key = b.AppendKey(key[:0], i)
				}
				b.Release()
			}
			batch()
			assert.LessOrEqual(t, testing.AllocsPerRun(20, batch), 2.0)
		})
	}
}

// OTTL may allocate for a record, tally may not on top of it: a condition costs what its own evaluation costs.
func TestAllocationsWithACondition(t *testing.T) {
	ld := benchmarkLogs()
	x := New(Settings{Metrics: []Metric{{Name: "m", Conditions: conditions(t, `severity_number < SEVERITY_NUMBER_ERROR`), Attributes: []Attribute{{Key: "x"}}}}})
	batch := func() {
		b, err := x.Extract(context.Background(), ld)
		if err != nil {
			t.Error(err)
		}
		b.Release()
	}
	batch()
	assert.Less(t, testing.AllocsPerRun(10, batch)/8192, 0.01)
}
