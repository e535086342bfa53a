// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestMemoryOfKeys: what a Builder and its newest Snapshot take for each key, besides the text, which a store in memory
// shares.
func TestMemoryOfKeys(t *testing.T) {
	const n = 200_000
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`["m",{"service.name":"service-%d"},{"code":%d,"user":"user-%d"}]`, i%20, 200+i%5, i)
	}
	before := inUse()
	b := NewBuilder(n)
	var s *Snapshot
	for round := range 3 { // all of them grow, so all have rates
		b.Begin()
		for i, key := range keys {
			b.Add(key, 1+i+round, epoch, epoch)
		}
		s = b.End(epoch.Add(time.Duration(round)*2*time.Second), true)
	}
	perKey := (int64(inUse()) - int64(before)) / n
	t.Logf("%d bytes a key", perKey)
	assert.Less(t, perKey, int64(500))
	runtime.KeepAlive(keys)
	runtime.KeepAlive(b)
	assert.Equal(t, n, s.Tracked)
}

// TestMemoryOfNames: a sender that makes up names of attributes makes the console take a bounded multiple of what the
// names have themselves.
func TestMemoryOfNames(t *testing.T) {
	const keys, each = 5000, 20
	before := inUse()
	b := NewBuilder(0)
	b.Begin()
	for i := range keys {
		var names []string
		for a := range each {
			names = append(names, fmt.Sprintf(`"name-%07d":1`, i*each+a))
		}
		b.Add(`["m",{`+strings.Join(names, ",")+`},{}]`, 1, epoch, epoch)
	}
	s := b.End(epoch, true)
	perName := (int64(inUse()) - int64(before)) / (keys * each)
	t.Logf("%d bytes a name", perName)
	assert.Less(t, perName, int64(400))
	assert.Len(t, s.Metrics["m"].Columns, keys*each)
	runtime.KeepAlive(b)
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
