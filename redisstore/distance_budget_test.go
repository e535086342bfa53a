// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// The model of docs/scaling.md: bytes on the network, with one replica, and CPU of the server.
const (
	callBytes   = 880
	newKeyBytes = 330
	manyBytes   = 80  // a key, one of many
	fewBytes    = 170 // a key, one of few

	callCPU = 40 * time.Microsecond
	manyCPU = 1300 * time.Nanosecond
	fewCPU  = 2 * time.Microsecond
	beatCPU = 25 * time.Microsecond

	// tolerance is by how much bytes may be over the model, whose numbers are means over keys and writers.
	tolerance = 1.25

	// overhead is the bytes for what a connection begins with, and what the replica is told besides, of each writer.
	overhead = 4096
)

// spent is what writers and their server have used.
type spent struct {
	at             time.Time
	calls          int // of the script
	probes         int // EXISTS, which the script uses as well
	bytes          int64
	flushes        int64
	keys           int64
	server, client time.Duration // CPU
}

func (s spent) since(b spent) spent {
	return spent{
		calls: s.calls - b.calls, probes: s.probes - b.probes, bytes: s.bytes - b.bytes, flushes: s.flushes - b.flushes, keys: s.keys - b.keys,
		server: s.server - b.server, client: s.client - b.client,
	}
}

// farFleet is a number of writers away from their server, which has a replica.
type farFleet struct {
	cfg     *Config
	server  *redistest.Server
	proxy   *faultproxy.Proxy
	meter   *redis.Client
	writers []*redisExtension
	sum     int64
}

func newFarFleet(t *testing.T, by time.Duration, writers int, interval time.Duration) *farFleet {
	master, replica := redistest.Start(t), redistest.Start(t)
	replica.Follow("127.0.0.1", master.Port())
	f := &farFleet{server: master, proxy: away(t, master.Near(), by), meter: redis.NewClient(&redis.Options{Addr: master.Near(), Protocol: 2})}
	t.Cleanup(func() { _ = f.meter.Close() })
	f.cfg = testConfig(f.proxy.Addr())
	f.cfg.Timeout, f.cfg.FlushInterval, f.cfg.HeartbeatInterval = 10*time.Second, interval, 4*interval
	f.begin(t)
	for range writers {
		f.writers = append(f.writers, open(t, f.cfg))
	}
	return f
}

// begin makes the server know the script, and all shards: they are of a fleet that counts already.
func (f *farFleet) begin(t *testing.T) {
	t.Helper()
	cfg := testConfig(f.server.Near())
	e := open(t, cfg)
	for _, key := range loadKeys(2000, 1) {
		e.store.Add("begin"+key, 1)
		f.sum++
	}
	require.NoError(t, e.Shutdown(t.Context()))
}

func (f *farFleet) spent(t *testing.T) spent {
	t.Helper()
	info, err := f.meter.InfoMap(t.Context(), "commandstats", "replication").Result()
	require.NoError(t, err)
	calls := func(name string) int {
		found := regexp.MustCompile(`calls=(\d+)`).FindStringSubmatch(info["Commandstats"]["cmdstat_"+name])
		if found == nil {
			return 0
		}
		n, _ := strconv.Atoi(found[1]) // digits
		return n
	}
	replicated, err := strconv.ParseInt(info["Replication"]["master_repl_offset"], 10, 64)
	require.NoError(t, err)
	var r syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	requests, replies := f.proxy.Bytes()
	s := spent{
		at: time.Now(), calls: calls("evalsha") + calls("eval"), probes: calls("exists"), bytes: requests + replies + replicated,
		server: f.server.CPUTime(), client: time.Duration(r.Utime.Nano() + r.Stime.Nano()),
	}
	for _, w := range f.writers {
		s.flushes += w.store.writer.numbers.flushes.Load()
		s.keys += w.store.writer.numbers.keysFlushed.Load()
	}
	return s
}

// during returns what is spent while all writers count keys, which none waits for, for so many intervals, and for how
// long that was.
func (f *farFleet) during(t *testing.T, keys []string, intervals int) (spent, time.Duration) {
	t.Helper()
	var stops []func() int64
	before := f.spent(t)
	for _, w := range f.writers {
		if len(keys) > 0 {
			stops = append(stops, countAll(w.store, keys, f.cfg.FlushInterval/4))
		}
	}
	time.Sleep(time.Duration(intervals) * f.cfg.FlushInterval)
	for _, w := range f.writers {
		ctx, cancel := within(time.Minute)
		require.NoError(t, w.store.writer.flushNow(ctx), "it ends, though counting goes on")
		cancel()
	}
	after := f.spent(t)
	for _, stop := range stops {
		f.sum += stop()
	}
	f.flush(t)
	return after.since(before), after.at.Sub(before.at)
}

func (f *farFleet) flush(t *testing.T) {
	t.Helper()
	for _, w := range f.writers {
		ctx, cancel := within(time.Minute)
		require.NoError(t, w.store.Flush(ctx))
		cancel()
	}
}

// first makes each writer send keys for the first time.
func (f *farFleet) first(t *testing.T, keys []string) spent {
	t.Helper()
	before := f.spent(t)
	for _, w := range f.writers {
		for _, key := range keys {
			w.store.Add(key, 1)
			f.sum++
		}
	}
	f.flush(t)
	return f.spent(t).since(before)
}

// What a fleet costs is what docs/scaling.md says, at any distance, under load that does not wait, and idle. The log
// has the table of that page: `TALLY_TEST_LONG=1 go test -count=1 -v -run TestFarBudget ./redisstore`.
func TestFarBudget(t *testing.T) {
	for _, by := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(by.String(), func(t *testing.T) {
			if !evidence.Long() { // which measures CPU
				t.Parallel()
			}
			testFarBudget(t, by)
		})
	}
}

func testFarBudget(t *testing.T, by time.Duration) {
	const keys = 2000
	writers, interval, intervals := 4, 200*time.Millisecond, 5
	if evidence.Long() {
		writers, interval, intervals = 20, time.Second, 40
	}
	f := newFarFleet(t, by, writers, interval)
	f.checkUnused(t, intervals)

	used := f.first(t, loadKeys(keys, 1))
	budget{f, "first", writers * keys, newKeyBytes}.check(t, used)
	assert.LessOrEqual(t, used.calls, int(used.flushes+2*int64(writers))*f.cfg.Shards, "the first finds no generation")

	for _, load := range []struct {
		name  string
		every int
		bytes int
		cpu   time.Duration
	}{{"all keys", 1, manyBytes, manyCPU}, {"one of 50", 50, fewBytes, fewCPU}} {
		used, took := f.during(t, loadKeys(keys, load.every), intervals)
		require.Positive(t, used.keys)
		f.checkCalls(t, used, took)
		assert.LessOrEqual(t, used.keys, (used.flushes+int64(writers))*int64((keys+load.every-1)/load.every), "a key once in a flush")
		budget{f, load.name, int(used.keys), load.bytes}.check(t, used)
		f.row(t, load.name, used, took, load.bytes, load.cpu, callCPU)
	}

	used, took := f.during(t, nil, intervals)
	beats := writers * f.cfg.Shards * int(took/f.cfg.HeartbeatInterval+1)
	assert.LessOrEqual(t, used.calls, beats, "heartbeats")
	assert.Zero(t, used.keys)
	budget{f, "idle", 0, 0}.check(t, used)
	f.row(t, "idle", used, took, 0, 0, beatCPU)

	got, err := sumOf(t.Context(), open(t, f.cfg).store)
	require.NoError(t, err)
	require.Equal(t, f.sum, got)
}

// checkUnused: writers that have counted nothing ask whether the server is there, a key of each shard once a heartbeat
// interval.
func (f *farFleet) checkUnused(t *testing.T, intervals int) {
	t.Helper()
	used, took := f.during(t, nil, intervals)
	assert.Zero(t, used.calls)
	assert.LessOrEqual(t, used.probes, len(f.writers)*f.cfg.Shards*int(took/f.cfg.HeartbeatInterval+2))
}

// checkCalls: the next flush begins three quarters of an interval after the last has ended, or later; and it is one
// call for each shard, as long as a chunk is enough. Besides, each writer was asked to flush once.
func (f *farFleet) checkCalls(t *testing.T, used spent, took time.Duration) {
	t.Helper()
	most := len(f.writers) * (int(took/(f.cfg.FlushInterval*3/4)) + 3)
	assert.LessOrEqual(t, int(used.flushes), most)
	assert.LessOrEqual(t, used.calls, (int(used.flushes)+len(f.writers))*f.cfg.Shards, "one flush may be under way at the end")
}

// budget is what the model allows.
type budget struct {
	fleet *farFleet
	name  string
	keys  int // that were flushed
	bytes int // for each of them
}

func (b budget) check(t *testing.T, used spent) {
	t.Helper()
	model := used.calls*callBytes + b.keys*b.bytes
	assert.LessOrEqual(t, float64(used.bytes), tolerance*float64(model)+float64(len(b.fleet.writers)*overhead), "bytes, %s", b.name)
}

// row logs a row of docs/scaling.md: each figure beside the model's.
func (f *farFleet) row(t *testing.T, name string, used spent, took time.Duration, keyBytes int, keyCPU, callCPU time.Duration) {
	t.Helper()
	period := f.cfg.FlushInterval
	model := f.cfg.Shards
	if used.keys == 0 {
		period = f.cfg.HeartbeatInterval
	}
	calls := float64(used.calls) * period.Seconds() / took.Seconds() / float64(len(f.writers))
	per, unit := int(used.keys), "key"
	if per == 0 {
		per, unit = used.calls, "call"
	}
	bytes := (used.calls*callBytes + int(used.keys)*keyBytes) / per
	cpu := (time.Duration(used.calls)*callCPU + time.Duration(used.keys)*keyCPU) / time.Duration(per)
	t.Logf("| %s | %s | %.1f / %d | %d / %d B a %s | %.1f / %.1f µs | %.1f µs |", t.Name()[len("TestFarBudget/"):], name, calls, model,
		int(used.bytes)/per, bytes, unit, micros(used.server, per), micros(cpu, 1), micros(used.client, per))
}

func micros(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }
