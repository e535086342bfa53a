package table

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestMemoryOfKeys: what a Builder and its newest Snapshot take for each key, besides the text, which a store in memory shares.
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

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
