// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package extract

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// The memory that a record takes is bounded by the limits, whatever it holds.
func TestMemoryOfALargeValue(t *testing.T) {
	large := func(n int) valuetest.Bytes {
		members := make([][]byte, n)
		for i := range members {
			members[i] = valuetest.Member(fmt.Sprintf("name-%07d", n-i), valuetest.String("value"))
		}
		return valuetest.Map(members...)
	}
	yields := expression(t, `attributes["a"]`)
	for name, m := range map[string]Metric{
		"resource": {}, "key": {Attributes: []Attribute{{Key: "a"}}}, "glob": {Attributes: []Attribute{{Key: "a*", Glob: true}}},
		"hash": {Attributes: []Attribute{{Key: "a", Hash: true}}}, "expression": {Attributes: []Attribute{{Key: "k", Expression: yields}}},
		"hashed expression": {Attributes: []Attribute{{Key: "k", Expression: yields, Hash: true}}}, "amount": {Amount: Amount{Expression: yields}},
	} {
		t.Run(name, func(t *testing.T) {
			m.Name = "m"
			x := New(Settings{Metrics: []Metric{m}, ValueLengthLimit: 256, KeyLengthLimit: 4096, HashKey: []byte("key")})
			place := places[2]
			if name == "resource" {
				place = places[0]
			}
			small, large := memoryOf(t, x, place(large(100))), memoryOf(t, x, place(large(100_000)))
			assert.LessOrEqual(t, large, small+8192)
		})
	}
}

// memoryOf returns how many bytes it takes to count a record, at best: the pools may be emptied.
func memoryOf(t *testing.T, x *Extractor, record valuetest.Record) (least uint64) {
	ld, err := record.Logs()
	require.NoError(t, err)
	for i := range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := x.Extract(t.Context(), ld)
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		b.Release()
		if taken := after.TotalAlloc - before.TotalAlloc; i == 0 || taken < least {
			least = taken
		}
	}
	return least
}
