// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package serieskey_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// The memory that a text takes is bounded by the limit, and what it takes without one by the value.
func TestTextTakesNoMoreMemoryForMore(t *testing.T) {
	for name, make := range map[string]func(n int) valuetest.Bytes{
		"string in a list": func(n int) valuetest.Bytes { return valuetest.List(valuetest.String(strings.Repeat("x", 10*n))) },
		"name":             func(n int) valuetest.Bytes { return valuetest.Map(valuetest.Member(strings.Repeat("\x00", 10*n), nil)) },
		"list": func(n int) valuetest.Bytes {
			return valuetest.List(several(n, func(i int) []byte { return valuetest.Int(int64(i)) })...)
		},
		"map, names ascending": func(n int) valuetest.Bytes {
			return valuetest.Map(several(n, func(i int) []byte { return valuetest.Member(fmt.Sprintf("%09d", i), valuetest.Int(1)) })...)
		},
		"map, names descending": func(n int) valuetest.Bytes {
			return valuetest.Map(several(n, func(i int) []byte { return valuetest.Member(fmt.Sprintf("%09d", n-i), valuetest.Int(1)) })...)
		},
		"lists in a map": func(n int) valuetest.Bytes {
			return valuetest.Map(several(n/10, func(i int) []byte { return valuetest.Member("a", valuetest.Nested(10, false)) })...)
		},
		"depth": func(n int) valuetest.Bytes { return valuetest.Nested(n, true) },
	} {
		t.Run(name, func(t *testing.T) {
			small, large := make(1000).Value(), make(100_000).Value()
			assert.LessOrEqual(t, memoryOf(large), memoryOf(small)+4096)
		})
	}
}

// several calls one n times.
func several(n int, one func(i int) []byte) (list [][]byte) {
	for i := range n {
		list = append(list, one(i))
	}
	return list
}

// memoryOf returns how many bytes Text allocates.
func memoryOf(v pcommon.Value) uint64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		serieskey.Text(v, 256)
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
