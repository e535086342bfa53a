// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logtally/tallyprocessor/internal/needs"
)

// MasterName is what Sentinels call the server that they watch.
const MasterName = "totals"

// StartSentinels starts three redis-sentinel processes that watch master, and returns their addresses. They take a
// master for down after half a second.
func StartSentinels(t testing.TB, master *Server) []string {
	t.Helper()
	binary := needs.Program(t, "redis-sentinel")
	var addrs []string
	var last *Server
	for range 3 {
		s := &Server{t: t, binary: binary, dir: t.TempDir(), port: freePort(t)}
		config := filepath.Join(s.dir, "sentinel.conf")
		text := strings.Join([]string{
			"port " + strconv.Itoa(s.port), "bind 127.0.0.1", "dir " + s.dir, "logfile " + filepath.Join(s.dir, "log"), "protected-mode no",
			"sentinel monitor " + MasterName + " 127.0.0.1 " + strconv.Itoa(master.Port()) + " 2",
			"sentinel down-after-milliseconds " + MasterName + " 500",
			"sentinel failover-timeout " + MasterName + " 3000",
		}, "\n")
		if err := os.WriteFile(config, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.cmd = exec.Command(binary, config)
		if err := s.cmd.Start(); err != nil {
			t.Fatalf("start redis-sentinel: %v", err)
		}
		t.Cleanup(s.Kill)
		s.Wait("PONG", "PING")
		addrs = append(addrs, s.Addr())
		last = s
	}
	last.Wait("slaves=1,sentinels=3", "INFO", "sentinel")
	return addrs
}

// Cluster is a group of servers that share the keys.
type Cluster struct {
	t     testing.TB
	Nodes []*Server
}

// StartCluster starts a Cluster of three masters with a replica each, made by redis-cli. A node is taken for down after
// a second.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	return startCluster(t, Start, args...)
}

// StartValkeyCluster is StartCluster for valkey-server.
func StartValkeyCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	return startCluster(t, StartValkey, args...)
}

func startCluster(t testing.TB, start func(testing.TB, ...string) *Server, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	create := []string{"--cluster", "create"}
	args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000"}, args...)
	for range 6 {
		s := start(t, args...)
		c.Nodes = append(c.Nodes, s)
		create = append(create, s.Near())
	}
	c.manage(append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	for _, s := range c.Nodes {
		s.Wait("cluster_state:ok", "CLUSTER", "INFO")
		s.Wait("cluster_known_nodes:6", "CLUSTER", "INFO")
	}
	for _, s := range c.Nodes {
		if s.CLI("ROLE")[:5] == "slave" {
			s.Wait("master_link_status:up", "INFO", "replication")
		}
	}
	return c
}

func (c *Cluster) manage(args ...string) {
	c.t.Helper()
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("redis-cli %v: %v\n%s", args, err, out[max(0, len(out)-1000):])
	}
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.Nodes {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Masters returns the nodes that are masters and run.
func (c *Cluster) Masters() []*Server {
	var masters []*Server
	for _, s := range c.Nodes {
		if role, err := s.TryCLI("ROLE"); err == nil && strings.HasPrefix(role, "master") {
			masters = append(masters, s)
		}
	}
	return masters
}

// ReplicasOf returns the nodes that follow master.
func (c *Cluster) ReplicasOf(master *Server) []*Server {
	c.t.Helper()
	var replicas []*Server
	for _, s := range c.Nodes {
		if role, err := s.TryCLI("ROLE"); err == nil && strings.HasPrefix(role, "slave") && strings.Fields(role)[2] == strconv.Itoa(master.Port()) {
			replicas = append(replicas, s)
		}
	}
	return replicas
}

// Reshard moves a number of slots from one master to another; a thirtieth of them if they are far away, since redis-cli
// goes there for each.
func (c *Cluster) Reshard(slots int, from, to *Server) {
	c.t.Helper()
	if Far() {
		slots /= 30
	}
	c.WaitForAgreement()
	c.manage("--cluster", "reshard", from.Near(), "--cluster-from", from.CLI("CLUSTER", "MYID"), "--cluster-to", to.CLI("CLUSTER", "MYID"),
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes")
}

// WaitForAgreement waits until redis-cli finds that all nodes know the same of each other, without which it moves
// nothing.
func (c *Cluster) WaitForAgreement() {
	c.t.Helper()
	var out []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		if out, err = exec.Command("redis-cli", "--cluster", "check", c.Masters()[0].Near()).CombinedOutput(); err == nil {
			return
		}
	}
	c.t.Fatalf("the nodes do not agree:\n%s", out)
}

// WaitForMasters waits until so many masters run, and all nodes that run find the Cluster complete.
func (c *Cluster) WaitForMasters(n int) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if masters := c.Masters(); len(masters) == n {
			for _, s := range masters {
				s.Wait("cluster_state:ok", "CLUSTER", "INFO")
			}
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("there are %d masters, not %d", len(c.Masters()), n)
		}
	}
}

// Holder returns the master that has keys in the slot of key.
func (c *Cluster) Holder(key string) *Server {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, s := range c.Masters() {
			if s.CLI("CLUSTER", "COUNTKEYSINSLOT", s.CLI("CLUSTER", "KEYSLOT", key)) != "0" {
				return s
			}
		}
	}
	c.t.Fatalf("no master has %s", key)
	return nil
}

// MoveSlotOf moves the slot of key by hand, one of its keys after the other, and calls between before each.
func (c *Cluster) MoveSlotOf(key string, from, to *Server, between func()) {
	c.t.Helper()
	slot, source, target := from.CLI("CLUSTER", "KEYSLOT", key), from.CLI("CLUSTER", "MYID"), to.CLI("CLUSTER", "MYID")
	to.CLI("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.CLI("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	for {
		between()
		next := from.CLI("CLUSTER", "GETKEYSINSLOT", slot, "1")
		if next == "" {
			break
		}
		from.CLI("MIGRATE", "127.0.0.1", strconv.Itoa(to.port), next, "0", "5000")
	}
	for _, s := range append([]*Server{to, from}, c.Masters()...) {
		s.CLI("CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}
