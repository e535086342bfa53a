// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/faultproxy"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// watcher is a host that keeps the component status.
type watcher struct {
	component.Host
	events chan *componentstatus.Event
}

func newWatcher() *watcher {
	return &watcher{componenttest.NewNopHost(), make(chan *componentstatus.Event, 100)}
}

func (w *watcher) Report(e *componentstatus.Event) { w.events <- e }

// TestFault_redis_refusals: whatever the server says instead of taking a flush is told by its class, and when it takes
// flushes again nothing is lost and nothing counted twice.
func TestFault_redis_refusals(t *testing.T) {
	type refusal struct {
		class string
		rows  []int
		args  []string // of the server
		begin func(s *redistest.Server)
		end   func(s *redistest.Server)
	}
	cli := func(args ...string) func(*redistest.Server) {
		return func(s *redistest.Server) { s.CLI(args...) }
	}
	for name, r := range map[string]refusal{
		"wrong password": {
			class: "auth",
			begin: func(s *redistest.Server) {
				s.CLI("CONFIG", "SET", "requirepass", "secret")
				s.CLI("-a", "secret", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal")
			},
			end: cli("-a", "secret", "--no-auth-warning", "CONFIG", "SET", "requirepass", ""),
		},
		"no permission": {class: "permission", begin: cli("ACL", "SETUSER", "default", "-evalsha"), end: cli("ACL", "SETUSER", "default", "+evalsha")},
		"wrong type": {
			class: "wrong_type", rows: []int{56},
			// at once: a heartbeat may come
			begin: cli("EVAL", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'x')", "1", "{tally:0}:totals"),
			end:   cli("DEL", "{tally:0}:totals"),
		},
		"out of memory": {class: "out_of_memory", begin: cli("CONFIG", "SET", "maxmemory", "1000"), end: cli("CONFIG", "SET", "maxmemory", "0")},
		"read only":     {class: "read_only", begin: cli("REPLICAOF", "127.0.0.1", "1"), end: cli("REPLICAOF", "NO", "ONE")},
		"not enough replicas": {
			class: "server", begin: cli("CONFIG", "SET", "min-replicas-to-write", "1"),
			end: cli("CONFIG", "SET", "min-replicas-to-write", "0"),
		},
		"loading": {
			class: "loading", args: []string{"--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no"},
			begin: func(s *redistest.Server) {
				s.CLI("EVAL", "for i = 1, 15000 do redis.call('SET', 'ballast:' .. i, i) end", "0")
				s.CLI("BGREWRITEAOF")
				s.Wait("aof_rewrite_in_progress:0", "INFO", "persistence")
				s.RestartSlowly("--key-load-delay", "100")
			},
			end: func(s *redistest.Server) { s.Wait("PONG", "PING") },
		},
		"nobody there": {class: "connection", rows: []int{49}, begin: (*redistest.Server).Kill, end: (*redistest.Server).Restart},
	} {
		t.Run(name, func(t *testing.T) {
			if r.rows == nil {
				r.rows = []int{54}
			}
			server := redistest.Start(t, r.args...)
			cfg := testConfig(server.Addr())
			cfg.Shards = 1
			host := newWatcher()
			s := openOn(t, cfg, host).store
			s.Add("a", 1)
			require.NoError(t, s.Flush(t.Context()))

			r.begin(server)
			s.Add("a", 10)
			require.Error(t, s.Flush(t.Context()))
			assert.Equal(t, componentstatus.StatusRecoverableError, (<-host.events).Status())
			assert.Positive(t, s.writer.numbers.copy(s.writer.numbers.failures)[r.class], "%v", s.writer.numbers.copy(s.writer.numbers.failures))
			assert.Positive(t, s.writer.numbers.unsentSeconds())
			s.Add("a", 100)

			r.end(server)
			s.Add("a", 1000)
			require.Eventually(t, func() bool { return s.Flush(t.Context()) == nil }, 10*time.Second, 20*time.Millisecond)
			for (<-host.events).Status() != componentstatus.StatusOK { // failures of other classes may come between
			}
			assert.Equal(t, 1111, s.Get("a"))
			evidence.Report(t, evidence.Figure{
				Rows: r.rows, Claim: "the server refuses, " + name + ": told by class `" + r.class + "`, exact", Rounds: 1,
				Fired: int(s.writer.numbers.copy(s.writer.numbers.failures)[r.class]), Counts: 1111,
			})
			assert.Zero(t, s.writer.numbers.unsentSeconds())
		})
	}
}

// TestFault_redis_cluster_down: a master and its replica are gone, so the others refuse all. What waited is sent when
// they are back.
func TestFault_redis_cluster_down(t *testing.T) {
	cluster := redistest.StartCluster(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg := testConfig(cluster.Addrs()...)
	cfg.Cluster = true
	s := open(t, cfg).store
	want := map[string]int{}
	add := func(n int) {
		for i := range 100 {
			s.Add(strconv.Itoa(i), n)
			want[strconv.Itoa(i)] += n
		}
	}
	add(1)
	require.NoError(t, s.Flush(t.Context()))
	master := cluster.Masters()[0]
	pair := append(cluster.ReplicasOf(master), master)
	for _, node := range pair {
		node.Kill()
	}
	cluster.Masters()[0].Wait("cluster_state:fail", "CLUSTER", "INFO")
	add(10)
	require.Eventually(t, func() bool {
		_ = s.Flush(t.Context()) // which is to fail
		return s.writer.numbers.copy(s.writer.numbers.failures)["cluster"] > 0
	}, 10*time.Second, 20*time.Millisecond, "the fault has happened")
	add(100)
	for _, node := range pair {
		node.Restart()
	}
	cluster.WaitForMasters(3)
	require.Eventually(t, func() bool { return s.Flush(t.Context()) == nil }, 20*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		got := map[string]int{}
		for total, err := range s.Totals(t.Context()) {
			if err != nil {
				return false
			}
			got[total.Key] = total.Value
		}
		return maps.Equal(want, got)
	}, 20*time.Second, 50*time.Millisecond)
	evidence.Report(t, evidence.Figure{
		Rows: []int{54}, Claim: "a master of a Cluster and its replica are gone for a while (CLUSTERDOWN): each total exact", Rounds: 1,
		Fired: int(s.writer.numbers.copy(s.writer.numbers.failures)["cluster"]), Counts: 11_100,
	})
}

// TestFault_redis_wrong_type_of_slot: somebody has put something else in the place of a slot. Nothing of a flush is
// taken then.
func TestFault_redis_wrong_type_of_slot(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 1
	s := open(t, cfg).store
	s.Add("a", 1)
	require.NoError(t, s.Flush(t.Context()))
	slot := s.writer.names.slot(0, s.writer.slots[0].name, s.writer.slots[0].generation)
	value, err := s.writer.client.Dump(t.Context(), slot).Result()
	require.NoError(t, err)
	// at once: a heartbeat may come between
	server.CLI("EVAL", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'x')", "1", slot)
	s.Add("a", 10)
	for range 3 {
		require.ErrorContains(t, s.Flush(t.Context()), "WRONGTYPE")
	}
	require.NoError(t, s.writer.client.RestoreReplace(t.Context(), slot, time.Hour, value).Err())
	require.NoError(t, s.Flush(t.Context()))
	assert.Equal(t, 11, s.Get("a"))
	evidence.Report(t, evidence.Figure{
		Rows: []int{56}, Claim: "a wrong type in the place of a slot: told, nothing is added meanwhile, exact afterwards", Rounds: 3,
		Fired: int(s.writer.numbers.copy(s.writer.numbers.failures)["wrong_type"]), Counts: 11,
	})
}

// TestFault_redis_never_answers: a server that takes connections and says nothing holds up neither counting nor the
// shutdown.
func TestFault_redis_never_answers(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr(), 50)
	release := proxy.Hold()
	defer release()
	e := open(t, testConfig(proxy.Addr()))
	e.store.Add("a", 7)
	before := time.Now()
	err := e.Shutdown(t.Context())
	require.ErrorIs(t, err, errUnsent)
	assert.ErrorContains(t, err, "7 are lost")
	assert.Less(t, time.Since(before), 2*e.cfg.ShutdownTimeout)
	evidence.Report(t, evidence.Figure{
		Rows: []int{50}, Claim: "a server that never answers holds up neither counting nor shutdown, which tells the exact loss", Rounds: 1,
		Fired: int(e.store.writer.numbers.failures["timeout"]), Counts: 7, Lost: 7, Loses: true,
	})
	assert.NoError(t, e.Shutdown(t.Context()), "twice")
}

// TestFault_redis_shards_changed: totals in 4 shards are not to be counted in 5.
func TestFault_redis_shards_changed(t *testing.T) {
	server := redistest.Start(t)
	cfg := testConfig(server.Addr())
	cfg.Shards = 4
	a := open(t, cfg).store
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		a.Inc(key)
	}
	require.NoError(t, a.Flush(t.Context()))
	other := testConfig(server.Addr())
	other.Shards = 5
	b := open(t, other).store
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		b.Inc(key)
	}
	require.ErrorIs(t, b.Flush(t.Context()), errShards)
	refused := 0
	for _, err := range b.Totals(t.Context()) {
		if err != nil {
			assert.ErrorIs(t, err, errShards)
			refused++
		}
	}
	assert.Len(t, read(t, a), 10)
	evidence.Report(t, evidence.Figure{
		Claim: "a Collector with another number of shards: refused in writing and in reading, and the others' totals stay as they are", Rounds: 1,
		Fired: refused, Counts: 10,
	})
}

// aclRule is what docs give to the user of tally; see README.md.
var aclRule = []string{
	"on", ">secret", "resetkeys", "~{tally:*", "resetchannels", "-@all",
	"+evalsha", "+eval", "+hget", "+hmget", "+hset", "+hgetall", "+hscan", "+hdel", "+hrandfield", "+exists", "+del", "+getrange", "+setrange", "+pexpire", "+time",
	"+client|setname", "+hello", "+info", "+config|get",
}

// aclCluster is what a user of a Cluster needs besides.
var aclCluster = []string{"+cluster|slots", "+cluster|shards", "+readonly", "+command"}

// TestLeastPrivilege: the rule in the docs is enough, and no more than what is needed.
func TestLeastPrivilege(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(append([]string{"ACL", "SETUSER", "tally"}, aclRule...)...)
	cfg := forgetConfig(server.Addr())
	cfg.Username, cfg.Password = "tally", configopaque.String("secret")
	s := open(t, cfg).store
	s.Inc("a")
	require.NoError(t, s.Flush(t.Context()))
	assert.Equal(t, map[string]int{"a": 1}, read(t, s))
	assert.Empty(t, s.Descriptions())
	eventually(t, func() bool { return len(s.local.totalsByKey()) == 0 }, "it forgets")
	assert.Empty(t, server.CLI("ACL", "LOG"), "nothing was refused")
	for _, args := range [][]string{{"FLUSHALL"}, {"KEYS", "*"}, {"SET", "x", "1"}, {"HGET", "other", "x"}, {"CONFIG", "SET", "maxmemory", "1"}} {
		_, err := server.TryCLI(append([]string{"--user", "tally", "--pass", "secret", "--no-auth-warning"}, args...)...)
		assert.Error(t, err, args)
	}
	server.CLI("ACL", "SETUSER", "tally", "-evalsha", "-eval")
	s.Inc("a")
	require.ErrorContains(t, s.Flush(t.Context()), "NOPERM", "the rule is what gives the permission")
}

func TestLeastPrivilegeInACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, s := range cluster.Nodes {
		s.CLI(append(append([]string{"ACL", "SETUSER", "tally"}, aclRule...), aclCluster...)...)
	}
	cfg := testConfig(cluster.Addrs()...)
	cfg.Cluster, cfg.Username, cfg.Password = true, "tally", configopaque.String("secret")
	s := open(t, cfg).store
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		s.Inc(key)
	}
	require.NoError(t, s.Flush(t.Context()))
	assert.Len(t, read(t, s), 5)
	for _, s := range cluster.Nodes {
		log := s.CLI("ACL", "LOG")
		assert.Empty(t, log, "nothing was refused: %s", log)
	}
}

func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"keeps nothing":  {nil, []string{"neither `appendonly` nor `save` is set"}},
		"keeps all":      {[]string{"--appendonly", "yes"}, nil},
		"drops":          {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, []string{"`maxmemory-policy` is allkeys-lru"}},
		"drops nothing":  {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction"}, nil},
		"has no maximum": {[]string{"--save", "60 1", "--maxmemory-policy", "allkeys-lru"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			client, err := newClient(t.Context(), testConfig(redistest.Start(t, c.args...).Addr()))
			require.NoError(t, err)
			defer func() { _ = client.Close() }()
			check(t.Context(), client, zap.New(core))
			require.Len(t, logs.All(), len(c.want), "%v", logs.All())
			for i, want := range c.want {
				assert.Contains(t, logs.All()[i].Message, want)
			}
		})
	}
	for version, old := range map[string]bool{"2.8.0": true, "6.0.16": true, "6.2.0": false, "7.0.15": false, "10.1": false, "": true, "x.y": true} {
		assert.Equal(t, old, isOld(version), version)
	}
}

func TestConfigMistakes(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, cfg.Validate())
	for want, change := range map[string]func(c *Config){
		"`endpoints` must not be empty":                                                      func(c *Config) { c.Endpoints = nil },
		"`endpoints::1` must not be empty":                                                   func(c *Config) { c.Endpoints, c.Cluster = []string{"a:1", ""}, true },
		"`endpoints` has 2 entries":                                                          func(c *Config) { c.Endpoints = []string{"a:1", "b:1"} },
		"`sentinel` must not be set together with `cluster`":                                 func(c *Config) { c.Cluster, c.Sentinel.MasterName = true, "m" },
		"`db` is -1: must not be negative":                                                   func(c *Config) { c.DB = -1 },
		"`db` must not be set together with `cluster`, found 1":                              func(c *Config) { c.Cluster, c.DB = true, 1 },
		"`key_prefix` must be of letters":                                                    func(c *Config) { c.KeyPrefix = "a}b" },
		"found \"\"":                                                                         func(c *Config) { c.KeyPrefix = "" },
		"`shards` must be from 1 to 1024, found 0":                                           func(c *Config) { c.Shards = 0 },
		"`shards` must be from 1 to 1024, found 1025":                                        func(c *Config) { c.Shards = 1025 },
		"`max_keys` is 0: must be positive":                                                  func(c *Config) { c.MaxKeys = 0 },
		"`timeout` is 0s: must be positive":                                                  func(c *Config) { c.Timeout = 0 },
		"`flush_interval` is -1s: must be positive":                                          func(c *Config) { c.FlushInterval = -time.Second },
		"`forget_after` is -1s: must not be negative":                                        func(c *Config) { c.ForgetAfter = -time.Second },
		"`forget_after` is 1ns":                                                              func(c *Config) { c.ForgetAfter = 1 },
		"`max_backoff` is 0s: must be positive":                                              func(c *Config) { c.MaxBackoff = 0 },
		"`shutdown_timeout` is 0s: must be positive":                                         func(c *Config) { c.ShutdownTimeout = 0 },
		"`heartbeat_interval` must not be shorter than `flush_interval`, found 10s and 1m0s": func(c *Config) { c.FlushInterval = time.Minute },
		"`writer_expiry` must be at least twice `heartbeat_interval`, found 19s and 10s":     func(c *Config) { c.WriterExpiry = 19 * time.Second },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		assert.ErrorContains(t, cfg.Validate(), want)
	}
	bad := createDefaultConfig().(*Config)
	bad.TLS.CAFile = "/nowhere"
	assert.ErrorContains(t, newExtension(extensiontest.NewNopSettings(typ), bad).Start(t.Context(), componenttest.NewNopHost()), "`tls`")
}
