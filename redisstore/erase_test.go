package redisstore

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/redistest"
)

// The script of the docs takes keys out of the totals while Collectors count. What had been counted does not come back, what is counted
// from then on does, and all other totals stay exact.
func TestErase(t *testing.T) {
	script, err := os.ReadFile("erase.lua")
	require.NoError(t, err)
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 4
	a, b := open(t, cfg).store, open(t, cfg).store
	key := func(user, route string) string { return fmt.Sprintf(`["m",{},{"route":%q,"user":%q}]`, route, user) }
	want := map[string]int{}
	for n := range 50 {
		for _, user := range []string{"alice", "alice2", `"user":"alice"`} {
			k := key(user, fmt.Sprint(n))
			a.Add(k, 1)
			b.Add(k, 2)
			if user != "alice" {
				want[k] = 3
			}
		}
	}
	require.NoError(t, a.Flush(t.Context()))
	require.NoError(t, b.Flush(t.Context()))

	gone := 0
	for shard := range cfg.Shards {
		var n int
		_, err := fmt.Sscan(server.CLI("EVAL", string(script), "1", fmt.Sprintf("{tally:%d}:totals", shard), `"user":"alice"`), &n)
		require.NoError(t, err)
		gone += n
	}
	assert.Equal(t, 50, gone)
	assert.Equal(t, want, read(t, b))

	a.Add(key("alice", "7"), 5)
	a.Add(key("alice2", "7"), 5)
	want[key("alice", "7")], want[key("alice2", "7")] = 5, 8
	require.Eventually(t, func() bool { return a.Flush(t.Context()) == nil && a.Get(key("alice", "7")) == 5 }, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { // readers wait until Collectors may have brought back what they miss
		_, err := sumOf(t.Context(), b)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	got := map[string]int{}
	for k, n := range read(t, b) {
		if n > 0 {
			got[k] = n
		}
	}
	assert.Equal(t, want, got)
}
