package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// bounds are those of a counter as Jepsen checks them: every read is at least what was acknowledged when it began, and at most
// what was attempted when it ended. (jepsen.checker/counter)
type bounds struct {
	attempted, acknowledged atomic.Int64
	reads, failed, behind   atomic.Int64 // reads that returned, that did not, and that were below what was acknowledged
}

// load counts in stores from one goroutine each, and reads, until stop is called.
type load struct {
	t       *testing.T
	bounds  bounds
	keys    int
	reader  *store
	running sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context
	strict  bool // no read may be behind
}

func startLoad(t *testing.T, reader *store, strict bool) *load {
	t.Helper()
	l := &load{t: t, keys: 50, reader: reader, strict: strict}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.read)
	t.Cleanup(l.stop)
	return l
}

// count counts in s and waits for acknowledgements.
func (l *load) count(s *store) {
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			l.once(s)
		}
	})
}

func (l *load) once(s *store) {
	n := 1 + rand.IntN(200)
	for range n {
		l.bounds.attempted.Add(1)
		s.Inc(fmt.Sprintf(`["m",{},{"n":%d}]`, rand.IntN(l.keys)))
	}
	for l.ctx.Err() == nil {
		if s.Flush(l.ctx) == nil {
			l.bounds.acknowledged.Add(int64(n))
			break
		}
	}
	time.Sleep(time.Millisecond)
}

func (l *load) read() {
	for l.ctx.Err() == nil {
		low := l.bounds.acknowledged.Load()
		sum, err := sumOf(l.ctx, l.reader)
		high := l.bounds.attempted.Load()
		switch {
		case err != nil:
			l.bounds.failed.Add(1)
		default:
			l.bounds.reads.Add(1)
			assert.LessOrEqual(l.t, sum, high, "a read is at most what was attempted")
			if sum < low {
				l.bounds.behind.Add(1)
				if l.strict {
					assert.GreaterOrEqual(l.t, sum, low, "a read is at least what was acknowledged")
				}
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func sumOf(ctx context.Context, s *store) (sum int64, err error) {
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

// exact stops the load and checks that nothing is lost and nothing counted twice, once the stores have flushed.
func (l *load) exact(stores ...*store) {
	l.t.Helper()
	l.stop()
	want := l.bounds.attempted.Load()
	var got int64
	require.Eventually(l.t, func() bool {
		for _, s := range stores {
			if s.Flush(context.Background()) != nil {
				return false
			}
		}
		sum, err := sumOf(context.Background(), l.reader)
		got = sum
		return err == nil && got == want
	}, 20*time.Second, 50*time.Millisecond, "exact after quiescence: %d attempted", want)
	l.t.Logf("%d counted, exact; %d reads, %d of them behind, %d refused", got, l.bounds.reads.Load(), l.bounds.behind.Load(), l.bounds.failed.Load())
	assert.Positive(l.t, l.bounds.reads.Load())
}

// long returns how long a fault lasts: short in the tests of every day, long with TALLY_TEST_LONG.
func long(short, long time.Duration) time.Duration {
	if os.Getenv("TALLY_TEST_LONG") != "" {
		return long
	}
	return short
}

// TestFault_redis_lost_replies: the server has taken a flush, and the writer does not know.
func TestFault_redis_lost_replies(t *testing.T) {
	const keys, rounds = 1000, 1000
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
	assert.GreaterOrEqual(t, proxy.Dropped(), int64(3), "the fault has happened")
	assert.GreaterOrEqual(t, w.store.writer.numbers.keysFlushed.Load(), int64(keys*rounds))
	t.Logf("%d replies dropped, %d entries flushed", proxy.Dropped(), w.store.writer.numbers.keysFlushed.Load())
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
	l.exact(w)
}

// TestFault_redis_restart_without_persistence: the server is killed and comes back empty.
func TestFault_redis_restart_without_persistence(t *testing.T) {
	server := redistest.Start(t)
	testRestarts(t, server, false)
}

// TestFault_redis_restart_with_aof: the server is killed and comes back with all that it had acknowledged.
func TestFault_redis_restart_with_aof(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	testRestarts(t, server, true)
}

func testRestarts(t *testing.T, server *redistest.Server, strict bool) {
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, strict)
	l.count(a)
	l.count(b)
	const kills = 5
	for range kills {
		time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond)
		server.Restart()
	}
	time.Sleep(300 * time.Millisecond)
	l.exact(a, b)
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
	l.bounds.attempted.Add(100_000)
	for range 100_000 {
		w.Inc("counted meanwhile")
	}
	assert.Less(t, time.Since(counting), time.Second, "counting does not wait")
	time.Sleep(long(2500*time.Millisecond, 30*time.Second))
	server.Continue()
	time.Sleep(200 * time.Millisecond)
	l.exact(w)
	assert.Positive(t, w.writer.numbers.failures["timeout"], "the fault has happened")
}

// TestFault_redis_flushall: somebody empties the server under load.
func TestFault_redis_flushall(t *testing.T) {
	server := redistest.Start(t)
	a, b := open(t, testConfig(server.Addr())).store, open(t, testConfig(server.Addr())).store
	l := startLoad(t, open(t, testConfig(server.Addr())).store, false)
	l.count(a)
	l.count(b)
	for range 5 {
		time.Sleep(200 * time.Millisecond)
		server.CLI("FLUSHALL")
	}
	time.Sleep(200 * time.Millisecond)
	l.exact(a, b)
	assert.Positive(t, a.writer.numbers.events["wiped"], "the fault has happened")
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
	l.exact(w)
	assert.Contains(t, server.CLI("INFO", "errorstats"), "errorstat_NOSCRIPT", "the fault has happened")
}

// TestFault_redis_stale_replica: the link to the replica stalls, the master dies, and the replica, which lacks what the master
// had acknowledged, takes its place. With bare increments that lost half of them.
func TestFault_redis_stale_replica(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	link := faultproxy.Start(t, master.Addr(), 52)
	replica.Follow("127.0.0.1", link.Port())
	front := faultproxy.Start(t, master.Addr(), 53)
	var writers []*store
	for range 4 {
		writers = append(writers, open(t, testConfig(front.Addr())).store)
	}
	idle, known := open(t, testConfig(front.Addr())).store, open(t, testConfig(front.Addr())).store
	l := startLoad(t, open(t, testConfig(front.Addr())).store, false)
	l.bounds.attempted.Add(1)
	known.Add("idle", 1) // so the replica knows this writer, and not the other one
	require.NoError(t, known.Flush(t.Context()))
	for _, w := range writers {
		l.count(w)
	}
	time.Sleep(300 * time.Millisecond)
	release := link.Hold()
	l.bounds.attempted.Add(2000) // counted once, in the time that gets lost, and never again
	for _, s := range []*store{idle, known} {
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
	var behind int64
	l.exact(append(writers, idle, known)...)
	for _, w := range append(writers, idle, known) {
		behind += w.writer.numbers.events["behind"]
	}
	assert.Positive(t, behind, "the fault has happened")
	assert.Positive(t, idle.writer.numbers.events["behind"], "a heartbeat finds what is lost")
	assert.Positive(t, known.writer.numbers.events["behind"])
}

// TestFault_redis_sentinel_failover: Sentinels make the replica of a master that was killed the new one.
func TestFault_redis_sentinel_failover(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	replica.Follow("127.0.0.1", master.Port())
	cfg := testConfig(redistest.StartSentinels(t, master)...)
	cfg.Sentinel.MasterName = redistest.MasterName
	w := open(t, cfg).store
	l := startLoad(t, open(t, cfg).store, false)
	l.count(w)
	time.Sleep(300 * time.Millisecond)
	master.Kill()
	replica.Wait("role:master", "INFO", "replication")
	time.Sleep(time.Second)
	l.exact(w)
	assert.Positive(t, sum(w.writer.numbers.failures), "the fault has happened")
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestFault_redis_cluster: a node dies and its replica takes over, and slots move, under load.
func TestFault_redis_cluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	cfg := testConfig(cluster.Addrs()...)
	cfg.Cluster = true
	w := open(t, cfg).store
	l := startLoad(t, open(t, cfg).store, false)
	l.count(w)
	time.Sleep(300 * time.Millisecond)
	masters := cluster.Masters()
	cluster.Reshard(3000, masters[0], masters[1])
	cluster.Reshard(3000, masters[2], masters[0])
	assert.Positive(t, l.bounds.reads.Load())
	masters[1].Kill()
	cluster.WaitForMasters(3)
	time.Sleep(500 * time.Millisecond)
	l.exact(w)
	assert.Positive(t, sum(w.writer.numbers.failures), "the fault has happened")
}

// TestFault_redis_writers_killed: processes come and go. What one had not sent is lost with it, and nothing else.
func TestFault_redis_writers_killed(t *testing.T) {
	server := redistest.Start(t)
	l := startLoad(t, open(t, testConfig(server.Addr())).store, true)
	for range 20 {
		e := open(t, testConfig(server.Addr()))
		until, cancel := context.WithTimeout(t.Context(), time.Duration(20+rand.IntN(60))*time.Millisecond)
		for until.Err() == nil {
			l.once(e.store)
		}
		cancel()
		l.bounds.attempted.Add(5)
		e.store.Add(`["m",{},{"n":1}]`, 5) // not sent, as far as anybody knows
		e.crash()
	}
	l.stop()
	got, err := sumOf(t.Context(), l.reader)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, got, l.bounds.acknowledged.Load())
	assert.LessOrEqual(t, got, l.bounds.attempted.Load())
}
