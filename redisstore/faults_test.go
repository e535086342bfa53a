// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/boundstest"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// load counts in stores from one goroutine each, and reads, until stop is called.
type load struct {
	t       *testing.T
	bounds  boundstest.Checker
	keys    int
	reader  *redisStore
	running sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context
	strict  bool // no read may be behind
}

func startLoad(t *testing.T, reader *redisStore, strict bool) *load {
	t.Helper()
	l := &load{t: t, keys: 50, reader: reader, strict: strict}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.read)
	t.Cleanup(l.stop)
	return l
}

// count counts in s: one goroutine waits for acknowledgements, and one does not, as most clients do not.
func (l *load) count(s *redisStore) {
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			l.once(s)
		}
	})
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			l.add(s)
			time.Sleep(time.Millisecond)
		}
	})
}

func (l *load) add(s *redisStore) {
	l.bounds.Attempt(1)
	s.Inc(fmt.Sprintf(`["m",{},{"n":%d}]`, rand.IntN(l.keys)))
}

func (l *load) once(s *redisStore) {
	n := 1 + rand.IntN(200)
	for range n {
		l.add(s)
	}
	for l.ctx.Err() == nil {
		if s.Flush(l.ctx) == nil {
			l.bounds.Acknowledge(int64(n))
			break
		}
	}
	time.Sleep(time.Millisecond)
}

func (l *load) read() {
	for l.ctx.Err() == nil {
		_, err := l.bounds.Read(func() (int64, error) { return sumOf(l.ctx, l.reader) })
		assert.NotErrorIs(l.t, err, boundstest.ErrAhead)
		if l.strict {
			assert.NotErrorIs(l.t, err, boundstest.ErrBehind)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func sumOf(ctx context.Context, s *redisStore) (sum int64, err error) {
	for total, err := range s.Totals(ctx) {
		if err != nil {
			return 0, err
		}
		sum += int64(total.Value)
	}
	return sum, nil
}

func (l *load) stop() {
	l.cancel()
	l.running.Wait()
}

// exact stops the load, checks that nothing is lost and nothing counted twice, once the stores have flushed, and
// reports that.
func (l *load) exact(f evidence.Figure, stores ...*redisStore) {
	l.t.Helper()
	l.settle(stores...)
	f.Counts, f.Note = l.bounds.Summary().Attempted, l.bounds.Summary().String()
	f.Rounds = max(f.Rounds, 1)
	evidence.Report(l.t, f)
}

// settle is exact without the report.
func (l *load) settle(stores ...*redisStore) {
	l.t.Helper()
	l.stop()
	want := l.bounds.Summary().Attempted
	require.Eventually(l.t, func() bool {
		for _, s := range stores {
			if s.Flush(context.Background()) != nil {
				return false
			}
		}
		got, err := sumOf(context.Background(), l.reader)
		return err == nil && got == want
	}, 20*time.Second, 50*time.Millisecond, "exact after quiescence: %d attempted", want)
	s := l.bounds.Summary()
	assert.Positive(l.t, s.Reads+s.Failed, "somebody reads")
}

// repeat runs a fault so many times, each time on servers of its own, and reports what all rounds come to. A round
// returns its load, which has settled, how often the fault has happened, and what else is to be told: the last round's
// is.
func repeat(t *testing.T, rounds int, f evidence.Figure, round func(t *testing.T) (l *load, fired int, note string)) {
	t.Helper()
	var seen boundstest.Summary
	var note string
	for range rounds {
		skipped := false
		t.Run("", func(t *testing.T) {
			defer func() { skipped = t.Skipped() }()
			l, fired, also := round(t)
			f.Fired += fired
			seen = seen.And(l.bounds.Summary())
			note = also
		})
		if skipped {
			t.Skip("its rounds are")
		}
	}
	f.Rounds, f.Counts, f.Note = rounds, seen.Attempted, seen.String()+note
	evidence.Report(t, f)
}

// long returns how long a fault lasts: short in the tests of every day, long with TALLY_TEST_LONG.
func long(short, long time.Duration) time.Duration {
	if evidence.Long() {
		return long
	}
	return short
}

// TestFault_redis_lost_replies: the server has taken a flush, and the writer does not know.
func TestFault_redis_lost_replies(t *testing.T) {
	const keys = 1000
	rounds := 1000
	if redistest.Far() {
		rounds = 300
	}
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 48)
	cfg := testConfig(proxy.Addr())
	cfg.FlushInterval, cfg.HeartbeatInterval = time.Hour, time.Hour
	cfg.WriterExpiry = 24 * time.Hour
	w := open(t, cfg)
	reader := open(t, testConfig(server.Addr())).store
	proxy.DropReplies(0.01)
	for range rounds {
		for i := range keys {
			w.store.Add(fmt.Sprint(i), 1+i%3)
		}
		for w.store.Flush(t.Context()) != nil {
		}
	}
	proxy.DropReplies(0)
	require.NoError(t, w.store.Flush(t.Context()))
	for key, total := range read(t, reader) {
		var i int
		_, err := fmt.Sscan(key, &i)
		require.NoError(t, err)
		require.Equal(t, rounds*(1+i%3), total, key)
	}
	flushed := w.store.writer.numbers.keysFlushed.Load()
	assert.GreaterOrEqual(t, flushed, int64(keys*rounds))
	evidence.Report(t, evidence.Figure{
		Rows: []int{48}, Claim: "replies dropped, 1 %: each total exact", Unit: "flushes", Rounds: rounds, Fired: int(proxy.Dropped()),
		Counts: flushed, Note: fmt.Sprintf("%d entries flushed", flushed),
	})
}

// TestFault_redis_lost_replies_of_many: many writers flush little and often, and one reply in ten gets lost. Beside it,
// through the same proxy, INCRBY by the same client library, which sends again on its own: what tally has to beat.
func TestFault_redis_lost_replies_of_many(t *testing.T) {
	const writers = 50 // after a failure a writer waits for 100 ms: many of them lose more
	flushes := evidence.Rounds(5, 20_000)
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 48)
	cfg := testConfig(proxy.Addr())
	cfg.FlushInterval, cfg.HeartbeatInterval, cfg.WriterExpiry = time.Hour, time.Hour, 24*time.Hour
	proxy.DropReplies(0.1)
	var running sync.WaitGroup
	want := map[string]int{"all": writers * flushes}
	for n := range writers {
		want[fmt.Sprint(n%10)] += flushes
		w := open(t, cfg).store
		running.Go(func() {
			for range flushes {
				w.Add(fmt.Sprint(n%10), 1)
				w.Add("all", 1)
				for w.Flush(t.Context()) != nil {
				}
			}
		})
	}
	running.Wait()
	proxy.DropReplies(0)
	dropped := proxy.Dropped()
	require.Equal(t, want, read(t, open(t, testConfig(server.Addr())).store))

	plain := redis.NewClient(&redis.Options{Addr: proxy.Addr(), MinRetryBackoff: -1, MaxRetryBackoff: -1})
	defer plain.Close()
	const increments = 100
	proxy.DropReplies(0.1)
	told := 0
	for range increments {
		if plain.IncrBy(t.Context(), "plain", 1).Err() == nil {
			told++
		}
	}
	proxy.DropReplies(0)
	stored, err := plain.Get(t.Context(), "plain").Int()
	require.NoError(t, err)
	evidence.Report(t, evidence.Figure{
		Rows: []int{48}, Claim: "one reply in ten dropped, 50 writers: each total exact", Unit: "flushes", Rounds: writers * flushes, Fired: int(dropped),
		Counts: int64(2 * writers * flushes),
		Note:   fmt.Sprintf("beside it, %d INCRBYs of one by go-redis, of which it says that %d were done: %d are stored", increments, told, stored),
	})
}

// TestFault_redis_small_pieces: replies arrive byte by byte.
func TestFault_redis_small_pieces(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 59)
	proxy.CutIntoPieces(1)
	w, reader := open(t, testConfig(proxy.Addr())).store, open(t, testConfig(proxy.Addr())).store
	l := startLoad(t, reader, true)
	l.count(w)
	time.Sleep(500 * time.Millisecond)
	l.exact(evidence.Figure{Rows: []int{59}, Claim: "replies byte by byte: exact", Fired: 1}, w)
}

// TestFault_redis_restart_without_persistence: the server is killed and comes back empty.
func TestFault_redis_restart_without_persistence(t *testing.T) {
	server := redistest.Start(t)
	testRestarts(t, server, evidence.Figure{Rows: []int{49, 51}, Claim: "the server is killed and comes back empty: exact"}, false)
}

// TestFault_redis_restart_with_aof: the server is killed and comes back with all that it had acknowledged.
func TestFault_redis_restart_with_aof(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	testRestarts(t, server, evidence.Figure{Rows: []int{49, 51}, Claim: "the server is killed and comes back with its AOF: exact"}, true)
}

func testRestarts(t *testing.T, server *redistest.Server, f evidence.Figure, strict bool) {
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, strict)
	l.count(a)
	l.count(b)
	kills := evidence.Rounds(5, 50)
	for range kills {
		time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond)
		server.Restart()
	}
	time.Sleep(300 * time.Millisecond)
	f.Unit, f.Rounds, f.Fired = "kills", kills, kills
	l.exact(f, a, b)
	assert.Positive(t, a.writer.numbers.failures["connection"], "the fault has happened")
	if !strict {
		assert.GreaterOrEqual(t, a.writer.numbers.events["wiped"], int64(kills))
	}
}

// TestFault_redis_hang: the server does not answer for a while, and counting goes on.
func TestFault_redis_hang(t *testing.T) {
	server := redistest.Start(t)
	w := open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, true)
	l.count(w)
	time.Sleep(200 * time.Millisecond)
	server.Pause()
	counting := time.Now()
	l.bounds.Attempt(100_000)
	for range 100_000 {
		w.Inc("counted meanwhile")
	}
	assert.Less(t, time.Since(counting), time.Second, "counting does not wait")
	time.Sleep(long(2500*time.Millisecond, 30*time.Second))
	server.Continue()
	time.Sleep(200 * time.Millisecond)
	l.exact(evidence.Figure{Rows: []int{50}, Claim: "the server hangs (SIGSTOP), and counting does not wait: exact", Fired: int(w.writer.numbers.copy(w.writer.numbers.failures)["timeout"])}, w)
}

// TestFault_redis_flushall: somebody empties the server under load.
func TestFault_redis_flushall(t *testing.T) {
	server := redistest.Start(t)
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, false)
	l.count(a)
	l.count(b)
	rounds := evidence.Rounds(5, 100)
	for range rounds {
		time.Sleep(200 * time.Millisecond)
		server.CLI("FLUSHALL")
	}
	time.Sleep(200 * time.Millisecond)
	l.exact(evidence.Figure{
		Rows: []int{55}, Claim: "FLUSHALL under load: exact", Rounds: rounds, Fired: int(a.writer.numbers.copy(a.writer.numbers.events)["wiped"]),
	}, a, b)
}

// TestFault_redis_away_at_shutdown: the server is away when a Collector ends, and back before its deadline. Nothing is
// lost.
func TestFault_redis_away_at_shutdown(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := open(t, testConfig(server.Addr()))
	e.cfg.ShutdownTimeout = 10 * time.Second
	e.store.Add("a", 1)
	require.NoError(t, e.store.Flush(t.Context()))
	server.Kill()
	e.store.Add("a", 10)
	ended := make(chan error)
	go func() { ended <- e.Shutdown(context.Background()) }()
	select {
	case err := <-ended:
		require.Fail(t, "has given up", "%v", err)
	case <-time.After(2 * time.Second): // longer than a few attempts take
	}
	server.Restart()
	require.NoError(t, <-ended)
	assert.Equal(t, map[string]int{"a": 11}, read(t, open(t, testConfig(server.Addr())).store))
	evidence.Report(t, evidence.Figure{
		Rows: []int{49}, Claim: "the server is away at shutdown, and back before its deadline: exact", Rounds: 1,
		Fired: int(sum(e.store.writer.numbers.copy(e.store.writer.numbers.failures))), Counts: 11,
	})
}

// TestFault_redis_script_flush: the server forgets the script.
func TestFault_redis_script_flush(t *testing.T) {
	server := redistest.Start(t)
	w := open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, true)
	l.count(w)
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		server.CLI("SCRIPT", "FLUSH")
	}
	assert.Contains(t, server.CLI("INFO", "errorstats"), "errorstat_NOSCRIPT", "the fault has happened")
	l.exact(evidence.Figure{Rows: []int{54}, Claim: "the server forgets the script, 20 times: exact", Fired: 20}, w)
}

// TestFault_redis_stale_replica: the link to the replica stalls, the master dies, and the replica, which lacks what the
// master had acknowledged, takes its place. With bare increments that lost half of them.
func TestFault_redis_stale_replica(t *testing.T) {
	repeat(t, evidence.Rounds(1, 100), evidence.Figure{
		Rows: []int{52}, Claim: "a replica whose link had stalled takes over, acknowledged counts are brought back: exact", Unit: "failovers",
	}, failToStaleReplica)
}

func failToStaleReplica(t *testing.T) (l *load, fired int, note string) {
	master, replica := redistest.Start(t), redistest.Start(t)
	link := faultproxy.Start(t, master.Addr(), 52)
	replica.Follow("127.0.0.1", link.Port())
	front := faultproxy.Start(t, master.Addr(), 53)
	var writers []*redisStore
	for range 4 {
		writers = append(writers, open(t, testConfig(front.Addr())).store)
	}
	idle, known := open(t, testConfig(front.Addr())).store, open(t, testConfig(front.Addr())).store
	l = startLoad(t, open(t, testConfig(front.Addr())).store, false)
	l.bounds.Attempt(1)
	known.Add("idle", 1) // so the replica knows this writer, and not the other one
	require.NoError(t, known.Flush(t.Context()))
	replica.Wait("1", "EXISTS", known.writer.names.totals(shardOf("idle", len(known.writer.slots))))
	for _, w := range writers {
		l.count(w)
	}
	plain := redis.NewClient(&redis.Options{Addr: front.Addr(), MaxRetries: -1})
	defer plain.Close()
	var told atomic.Int64
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			if plain.IncrBy(l.ctx, "plain", 1).Err() == nil {
				told.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(300 * time.Millisecond)
	release := link.Hold()
	l.bounds.Attempt(2000) // counted once, in the time that gets lost, and never again
	for _, s := range []*redisStore{idle, known} {
		s.Add("idle", 1000)
		require.NoError(t, s.Flush(t.Context()))
	}
	time.Sleep(200 * time.Millisecond)
	master.Kill()
	link.Cut()
	release()
	replica.CLI("REPLICAOF", "NO", "ONE")
	front.Target(replica.Addr())
	time.Sleep(500 * time.Millisecond)
	l.settle(append(writers, idle, known)...)
	assert.Positive(t, idle.writer.numbers.copy(idle.writer.numbers.events)["rolled_back"], "a heartbeat finds what is lost")
	behind := known.writer.numbers.copy(known.writer.numbers.events)["rolled_back"]
	assert.Positive(t, behind)
	stored, err := plain.Get(t.Context(), "plain").Int64()
	require.NoError(t, err)
	return l, int(min(1, behind)), fmt.Sprintf("; INCRBY beside it, in the last failover: %d done, %d stored", told.Load(), stored)
}

// TestFault_redis_sentinel_failover: Sentinels make the replica of a master that was killed the new one.
func TestFault_redis_sentinel_failover(t *testing.T) {
	repeat(t, evidence.Rounds(1, 30), evidence.Figure{
		Rows: []int{52}, Claim: "Sentinels promote the replica of a killed master: exact", Unit: "failovers",
	}, failOverBySentinels)
}

func failOverBySentinels(t *testing.T) (l *load, fired int, note string) {
	master, replica := redistest.Start(t), redistest.Start(t)
	replica.Follow("127.0.0.1", master.Port())
	cfg := testConfig(redistest.StartSentinels(t, master)...)
	cfg.Sentinel.MasterName = redistest.MasterName
	w := open(t, cfg).store
	l = startLoad(t, open(t, cfg).store, false)
	l.count(w)
	time.Sleep(300 * time.Millisecond)
	master.Kill()
	replica.Wait("role:master", "INFO", "replication")
	time.Sleep(time.Second)
	l.settle(w)
	return l, int(min(1, sum(w.writer.numbers.copy(w.writer.numbers.failures)))), ""
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestFault_redis_cluster: a node dies and its replica takes over, and slots move, under load.
func TestFault_redis_cluster(t *testing.T) {
	repeat(t, evidence.Rounds(1, 20), evidence.Figure{
		Rows: []int{54}, Claim: "Cluster under load: 6,000 slots move, a killed node fails over: exact", Unit: "failovers",
	}, failOverInACluster)
}

func failOverInACluster(t *testing.T) (l *load, fired int, note string) {
	cluster := redistest.StartCluster(t)
	cfg := testConfig(cluster.Addrs()...)
	cfg.Cluster = true
	w := open(t, cfg).store
	l = startLoad(t, open(t, cfg).store, false)
	l.count(w)
	time.Sleep(300 * time.Millisecond)
	masters := cluster.Masters()
	cluster.Reshard(3000, masters[0], masters[1])
	cluster.Reshard(3000, masters[2], masters[0])
	assert.Positive(t, l.bounds.Summary().Reads)
	masters[1].Kill()
	cluster.WaitForMasters(3)
	time.Sleep(500 * time.Millisecond)
	l.settle(w)
	return l, int(min(1, sum(w.writer.numbers.copy(w.writer.numbers.failures)))), ""
}

// TestFault_redis_writers_killed: processes come and go. What one had not sent is lost with it, and nothing else.
func TestFault_redis_writers_killed(t *testing.T) {
	server := redistest.Start(t)
	l := startLoad(t, open(t, testConfig(server.Addr())).store, true)
	kills := evidence.Rounds(20, 3000)
	for range kills {
		e := open(t, testConfig(server.Addr()))
		until, cancel := context.WithTimeout(t.Context(), time.Duration(20+rand.IntN(60))*time.Millisecond)
		for until.Err() == nil {
			l.once(e.store)
		}
		cancel()
		l.bounds.Attempt(5)
		e.store.Add(`["m",{},{"n":1}]`, 5) // not sent, as far as anybody knows
		e.crash()
	}
	l.stop()
	got, err := sumOf(t.Context(), l.reader)
	require.NoError(t, err)
	require.NoError(t, l.bounds.Check(got))
	evidence.Report(t, evidence.Figure{
		Rows: []int{58}, Claim: "processes are killed: acknowledged <= read <= attempted", Unit: "kills", Rounds: kills, Fired: kills, Counts: got,
		Note: l.bounds.Summary().String(),
	})
}

// TestFault_redis_split_brain: the old master lives on beside the new one, some writers still reach it, and then it
// joins as a replica and loses what it had.
func TestFault_redis_split_brain(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	two.Follow("127.0.0.1", one.Port())
	late, early := faultproxy.Start(t, one.Addr(), 54), faultproxy.Start(t, one.Addr(), 55)
	a, b := open(t, testConfig(late.Addr())).store, open(t, testConfig(early.Addr())).store
	l := startLoad(t, open(t, testConfig(early.Addr())).store, false)
	l.count(a)
	l.count(b)
	rounds := evidence.Rounds(3, 100)
	for range rounds {
		time.Sleep(200 * time.Millisecond)
		two.CLI("REPLICAOF", "NO", "ONE")
		early.Cut()
		early.Target(two.Addr())
		time.Sleep(300 * time.Millisecond) // both take flushes
		one.Follow("127.0.0.1", two.Port())
		late.Cut()
		late.Target(two.Addr())
		one, two = two, one
	}
	time.Sleep(300 * time.Millisecond)
	l.exact(evidence.Figure{
		Rows: []int{53}, Claim: "two masters take flushes, one joins the other: exact", Rounds: rounds, Unit: "failovers",
		Fired: int(a.writer.numbers.copy(a.writer.numbers.events)["rolled_back"] + b.writer.numbers.copy(b.writer.numbers.events)["rolled_back"]),
	}, a, b)
}

// TestFault_redis_eviction: the server drops keys of ours, since somebody fills its memory and its policy lets it.
func TestFault_redis_eviction(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "8mb", "--maxmemory-policy", "allkeys-random")
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, false)
	l.count(a)
	l.count(b)
	for i := range 8 {
		time.Sleep(100 * time.Millisecond)
		server.CLI("EVAL", "for i = 1, 3000 do redis.call('SET', 'ballast:' .. ARGV[1] .. i, string.rep('x', 900)) end", "0", fmt.Sprint(i%4))
	}
	server.CLI("CONFIG", "SET", "maxmemory", "0")
	time.Sleep(300 * time.Millisecond)
	for _, s := range []*redisStore{a, b} {
		t.Logf("events %v, failures %v", s.writer.numbers.copy(s.writer.numbers.events), s.writer.numbers.copy(s.writer.numbers.failures))
	}
	events := func(name string) int64 {
		return a.writer.numbers.copy(a.writer.numbers.events)[name] + b.writer.numbers.copy(b.writer.numbers.events)[name]
	}
	l.exact(evidence.Figure{
		Rows: []int{55}, Claim: "the server evicts keys at random under load: exact once it stops", Fired: int(events("wiped") + events("expired")),
	}, a, b)
}

// TestFault_redis_total_at_its_end: a total stays at the largest int64, which is told, and others go on.
func TestFault_redis_total_at_its_end(t *testing.T) {
	server := redistest.Start(t)
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	a.Add("big", math.MaxInt64-10)
	require.NoError(t, a.Flush(t.Context()))
	b.Add("big", 20)
	b.Add("small", 3)
	require.NoError(t, b.Flush(t.Context()))
	assert.Equal(t, map[string]int{"big": math.MaxInt64, "small": 3}, read(t, a))
	evidence.Report(t, evidence.Figure{
		Rows: []int{56}, Claim: "a total at the largest int64 stays there, and that is told", Rounds: 1, Fired: int(b.Saturated()),
	})
}
