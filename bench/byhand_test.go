// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
)

// What follows are the loops that tally is measured against: a look-up, a Go map and a counter. They have no bounds, no
// resources, nobody can read them while they count, and one goroutine is all they can take.

// total keeps the compiler from dropping a loop whose sum nobody reads.
var total int

func walk() func(plog.Logs) {
	return func(ld plog.Logs) {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for range sl.LogRecords().All() {
					total++
				}
			}
		}
	}
}

func countString(key string) byHand {
	return func() func(plog.Logs) {
		counts := map[string]int{}
		return func(ld plog.Logs) {
			for _, rl := range ld.ResourceLogs().All() {
				for _, sl := range rl.ScopeLogs().All() {
					records := sl.LogRecords()
					for i := range records.Len() {
						if v, ok := records.At(i).Attributes().Get(key); ok {
							counts[v.Str()]++
						}
					}
				}
			}
		}
	}
}

// three is what W3 counts by.
type three struct {
	method, route string
	status        int64
}

func (c threeCounts) add(r plog.LogRecord) {
	a := r.Attributes()
	method, hasMethod := a.Get("http.request.method")
	route, hasRoute := a.Get("http.route")
	status, hasStatus := a.Get("http.response.status_code")
	if hasMethod && hasRoute && hasStatus {
		c[three{method.Str(), route.Str(), status.Int()}]++
	}
}

type threeCounts map[three]int

func countThree(condition func(plog.LogRecord) bool) byHand {
	return func() func(plog.Logs) {
		counts := threeCounts{}
		return func(ld plog.Logs) {
			for _, rl := range ld.ResourceLogs().All() {
				for _, sl := range rl.ScopeLogs().All() {
					records := sl.LogRecords()
					for i := range records.Len() {
						if r := records.At(i); condition(r) {
							counts.add(r)
						}
					}
				}
			}
		}
	}
}

func countThreeWithOTTL() func(plog.Logs) {
	parser, err := ottllog.NewParser(ottlfuncs.StandardConverters[*ottllog.TransformContext](), componenttest.NewNopTelemetrySettings())
	if err != nil {
		panic(err)
	}
	condition, err := parser.ParseCondition(ottlCondition)
	if err != nil {
		panic(err)
	}
	counts := threeCounts{}
	return func(ld plog.Logs) {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				records := sl.LogRecords()
				for i := range records.Len() {
					if r := records.At(i); isMet(condition, rl, sl, r) {
						counts.add(r)
					}
				}
			}
		}
	}
}

func isMet(condition *ottl.Condition[*ottllog.TransformContext], rl plog.ResourceLogs, sl plog.ScopeLogs, r plog.LogRecord) bool {
	transform := ottllog.NewTransformContext(rl, sl, r)
	defer transform.Close()
	met, err := condition.Eval(context.Background(), transform)
	return met && err == nil
}
