package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/redistest"
)

// loadKey is a key as tally makes them, of 105 bytes or so.
func loadKey(i int) string {
	return fmt.Sprintf(`["http.requests",{"service.name":"checkout-%d"},{"http.response.status_code":200,"http.route":"/cart/%d"}]`, i%100, i)
}

// usage is what the processes have used.
type usage struct {
	client, server time.Duration
	memory         int64
}

func use(b *testing.B, servers []*redistest.Server) usage {
	b.Helper()
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	u := usage{client: time.Duration(r.Utime.Nano() + r.Stime.Nano())}
	for _, s := range servers {
		u.server += s.CPUTime()
		info := s.CLI("INFO", "memory")
		n, err := strconv.ParseInt(infoField(info, "used_memory"), 10, 64)
		require.NoError(b, err)
		u.memory += n
	}
	return u
}

func (u usage) report(b *testing.B, before usage, entries int) {
	b.Helper()
	b.ReportMetric(float64((u.client-before.client).Nanoseconds())/float64(entries), "client-ns/entry")
	b.ReportMetric(float64((u.server-before.server).Nanoseconds())/float64(entries), "server-ns/entry")
	b.ReportMetric(0, "ns/op")
}

// quiet returns a configuration that flushes when it is told to.
func quiet(cfg *Config) *Config {
	cfg.FlushInterval, cfg.HeartbeatInterval, cfg.Timeout = time.Hour, time.Hour, time.Minute
	cfg.WriterExpiry, cfg.MaxKeys = 24*time.Hour, 1_000_000
	return cfg
}

// BenchmarkFlush: a flush of 100,000 keys, beside pipelines of HINCRBY with as many keys each as a chunk has.
func BenchmarkFlush(b *testing.B) {
	const keys = 100_000
	server := redistest.Start(b)
	servers := []*redistest.Server{server}
	b.Run("tally", func(b *testing.B) {
		s := open(b, quiet(testConfig(server.Addr()))).store
		add := func() {
			for i := range keys {
				s.Add(loadKey(i), 3)
			}
		}
		add()
		require.NoError(b, s.Flush(b.Context()))
		var sum usage
		for range b.N {
			add()
			before := use(b, servers)
			require.NoError(b, s.Flush(b.Context()))
			after := use(b, servers)
			sum.client += after.client - before.client
			sum.server += after.server - before.server
		}
		sum.report(b, usage{}, keys*b.N)
	})
	b.Run("hincrby", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2})
		defer func() { _ = client.Close() }()
		list := make([]string, keys)
		for i := range list {
			list[i] = loadKey(i)
		}
		increment := func() {
			for from := 0; from < keys; from += chunk {
				_, err := client.Pipelined(b.Context(), func(p redis.Pipeliner) error {
					for _, key := range list[from : from+chunk] {
						p.HIncrBy(b.Context(), "plain", key, 3)
					}
					return nil
				})
				require.NoError(b, err)
			}
		}
		increment()
		before := use(b, servers)
		for range b.N {
			increment()
		}
		use(b, servers).report(b, before, keys*b.N)
	})
}

// BenchmarkFleet: writers with the same keys, in a Cluster of three masters; each flushes all of them once for the first time and
// once more.
func BenchmarkFleet(b *testing.B) {
	for _, c := range []struct{ writers, keys, shards int }{
		{10, 2000, 16}, {100, 2000, 16}, {1000, 2000, 16}, {100, 200, 16}, {100, 20_000, 16}, {100, 2000, 3}, {100, 2000, 64},
	} {
		b.Run(fmt.Sprintf("writers=%d/keys=%d/shards=%d", c.writers, c.keys, c.shards), func(b *testing.B) {
			benchmarkFleet(b, c.writers, c.keys, c.shards)
		})
	}
}

func benchmarkFleet(b *testing.B, writers, keys, shards int) {
	cluster := redistest.StartCluster(b)
	masters := cluster.Masters()
	cfg := quiet(testConfig(cluster.Addrs()...))
	cfg.Cluster, cfg.Shards = true, shards
	empty := use(b, masters)
	var first, again usage
	var single int64
	for range b.N {
		for w := range writers {
			e := open(b, cfg)
			for round := range 2 {
				for i := range keys {
					e.store.Add(loadKey(i), 3)
				}
				before := use(b, masters)
				require.NoError(b, e.store.Flush(context.Background()))
				after := use(b, masters)
				sum := &first
				if round == 1 {
					sum = &again
				}
				sum.client += after.client - before.client
				sum.server += after.server - before.server
				if w == 0 {
					single = after.memory - empty.memory
				}
			}
			e.crash()
		}
	}
	total := use(b, masters).memory - empty.memory
	entries := float64(writers * keys * b.N)
	b.ReportMetric(float64(first.server.Nanoseconds())/entries, "first-server-ns/entry")
	b.ReportMetric(float64(again.server.Nanoseconds())/entries, "server-ns/entry")
	b.ReportMetric(float64(again.client.Nanoseconds())/entries, "client-ns/entry")
	b.ReportMetric(float64(single)/float64(keys), "B/key")
	if writers > 1 {
		b.ReportMetric(float64(total-single)/float64((writers*b.N-1)*keys), "B/contribution")
	}
	b.ReportMetric(0, "ns/op")
	list := time.Now()
	reader := open(b, cfg).store
	n := 0
	for _, err := range reader.Totals(context.Background()) {
		require.NoError(b, err)
		n++
	}
	require.Equal(b, keys, n)
	b.ReportMetric(float64(time.Since(list).Nanoseconds())/float64(keys), "list-ns/key")
	var used []string
	for _, m := range masters {
		used = append(used, m.CLI("DBSIZE"))
	}
	b.Logf("keys on the masters: %s", strings.Join(used, ", "))
}
