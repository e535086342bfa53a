// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"strconv"
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
	network        int64 // bytes, of the servers, with what they send to replicas
}

func use(b *testing.B, servers []*redistest.Server) usage {
	b.Helper()
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	u := usage{client: time.Duration(r.Utime.Nano() + r.Stime.Nano())}
	for _, s := range servers {
		u.server += s.CPUTime()
		info := s.CLI("INFO", "stats")
		number := func(name string) int64 {
			n, err := strconv.ParseInt(infoField(info, name), 10, 64)
			require.NoError(b, err)
			return n
		}
		u.network += number("total_net_input_bytes") + number("total_net_output_bytes")
	}
	return u
}

// less returns what was used since before.
func (u usage) less(before usage) usage {
	return usage{u.client - before.client, u.server - before.server, u.network - before.network}
}

func (u usage) report(b *testing.B, entries int) {
	b.Helper()
	b.ReportMetric(float64(u.client.Nanoseconds())/float64(entries), "client-ns/entry")
	b.ReportMetric(float64(u.server.Nanoseconds())/float64(entries), "server-ns/entry")
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
			used := use(b, servers).less(before)
			sum.client += used.client
			sum.server += used.server
		}
		sum.report(b, keys*b.N)
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
		use(b, servers).less(before).report(b, keys*b.N)
	})
}

// memoryUsage returns what servers need for the keys that match a pattern, as MEMORY USAGE has it.
func memoryUsage(b *testing.B, servers []*redistest.Server, pattern string) (sum int64) {
	b.Helper()
	for _, s := range servers {
		client := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2})
		keys, err := client.Keys(b.Context(), pattern).Result()
		require.NoError(b, err)
		cmds, err := client.Pipelined(b.Context(), func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.MemoryUsage(b.Context(), key, 1000)
			}
			return nil
		})
		require.NoError(b, err)
		for _, cmd := range cmds {
			sum += cmd.(*redis.IntCmd).Val()
		}
		require.NoError(b, client.Close())
	}
	return sum
}

// BenchmarkFleet: writers with the same keys, in a Cluster of three masters. Each flushes all of them for the first
// time and once more, then one of 50, then is only heard of. docs/scaling.md is made of what this prints.
func BenchmarkFleet(b *testing.B) {
	for _, c := range []struct{ writers, keys, shards int }{
		{1, 2000, 16},
		{10, 2000, 16},
		{100, 2000, 16},
		{1000, 2000, 16},
		{100, 200, 16},
		{100, 20_000, 16},
		{20, 100_000, 16},
		{100, 2000, 3},
		{100, 2000, 64},
		{100, 20_000, 64},
	} {
		b.Run(fmt.Sprintf("writers=%d/keys=%d/shards=%d", c.writers, c.keys, c.shards), func(b *testing.B) {
			benchmarkFleet(b, c.writers, c.keys, c.shards)
		})
	}
}

// phase is what all writers do once.
type phase struct {
	name  string
	every int // flushes each so-manieth key; 0 = none
	usage usage
}

func benchmarkFleet(b *testing.B, writers, keys, shards int) {
	cluster := redistest.StartCluster(b, "--cluster-node-timeout", "15000") // the machine is busy, not the nodes down
	masters := cluster.Masters()
	cfg := quiet(testConfig(cluster.Addrs()...))
	cfg.Cluster, cfg.Shards = true, shards
	phases := []phase{{name: "first", every: 1}, {name: "again", every: 1}, {name: "sparse", every: 50}, {name: "beat"}}
	reader := open(b, cfg).store
	var extensions []*redisExtension
	for range writers * b.N {
		extensions = append(extensions, open(b, cfg))
	}
	for i := range phases {
		p := &phases[i]
		if p.every == 0 {
			cfg.HeartbeatInterval = 1 // each flush is a heartbeat for all shards
		}
		before := use(b, masters)
		for _, e := range extensions {
			for key := 0; p.every > 0 && key < keys; key += p.every {
				e.store.Add(loadKey(key), 3)
			}
			require.NoError(b, e.store.Flush(context.Background()))
		}
		p.usage = use(b, masters).less(before)
	}
	for _, p := range phases {
		per, unit := shards, "call"
		if p.every > 0 {
			per, unit = keys/p.every, "entry"
		}
		n := float64(writers * b.N * per)
		b.ReportMetric(float64(p.usage.server.Nanoseconds())/n, p.name+"-server-ns/"+unit)
		b.ReportMetric(float64(p.usage.client.Nanoseconds())/n, p.name+"-client-ns/"+unit)
		b.ReportMetric(float64(p.usage.network)/n, p.name+"-B/"+unit)
	}
	b.ReportMetric(float64(memoryUsage(b, masters, "*:totals"))/float64(keys), "memory-B/key")
	b.ReportMetric(float64(memoryUsage(b, masters, "*:writer:*"))/float64(writers*b.N*keys), "memory-B/contribution")
	b.ReportMetric(float64(memoryUsage(b, masters, "*:writers"))/float64(writers*b.N*shards), "memory-B/writer-and-shard")
	b.ReportMetric(0, "ns/op")
	before := use(b, masters)
	list := time.Now()
	n := 0
	for _, err := range reader.Totals(context.Background()) {
		require.NoError(b, err)
		n++
	}
	require.Equal(b, keys, n)
	b.ReportMetric(float64(time.Since(list).Nanoseconds())/float64(keys), "list-ns/key")
	b.ReportMetric(float64(use(b, masters).less(before).server.Nanoseconds())/float64(keys), "list-server-ns/key")
	for _, e := range extensions {
		e.crash()
	}
}
