// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
)

// clusterReload is how often the client asks a Cluster where its shards are. With the minute that is the library's
// default a failover took as long to be noticed.
const clusterReload = 2 * time.Second

// clientLog is where the client library logs: it would write to standard error, at every level. It has one logger for
// the process, the last that was set. Errors that matter are returned as well, and told by health.
type clientLog struct{ logger *zap.Logger }

// Printf implements the library's logger.
func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	l.logger.Debug("Redis client", zap.String("message", fmt.Sprintf(format, args...)))
}

// newClient returns a client, which connects when it is used. It repeats no command: the writer does, and knows when.
func newClient(ctx context.Context, cfg *Config) (redis.UniversalClient, error) {
	tlsConfig, err := cfg.TLS.LoadTLSConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("`tls`: %w", err)
	}
	o := redis.UniversalOptions{
		Addrs:      cfg.Endpoints,
		ClientName: "tally",
		DB:         cfg.DB,
		Username:   cfg.Username,
		Password:   string(cfg.Password),
		TLSConfig:  tlsConfig,

		MasterName:       cfg.Sentinel.MasterName,
		SentinelUsername: cfg.Sentinel.Username,
		SentinelPassword: string(cfg.Sentinel.Password),

		Protocol:              2,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           cfg.Timeout,
		ReadTimeout:           cfg.Timeout,
		WriteTimeout:          cfg.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              4, // the writer uses one, each listing another
		PipelinePoolSize:      -1,
		FailingTimeoutSeconds: 1,
		DisableIdentity:       true, // Redis 7.0 has no CLIENT SETINFO, nor a name for it in an ACL

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch {
	case cfg.Cluster:
		c := o.Cluster()
		c.ClusterStateReloadInterval = clusterReload
		return redis.NewClusterClient(c), nil
	case o.MasterName != "":
		return redis.NewFailoverClient(o.Failover()), nil
	default:
		return redis.NewClient(o.Simple()), nil
	}
}

// class is what kind of failure an error is: what it says in metrics, whether it may pass by itself, and whether no
// server answers, or none that lets us in.
type class struct {
	name   string
	passes bool
	absent bool
}

// classes are told apart by how the server's errors begin; see RESP's "error reply" convention.
var classes = []struct {
	prefix string
	class  class
}{
	{"WRONGPASS", class{name: "auth", absent: true}},
	{"NOAUTH", class{name: "auth", absent: true}},
	{"ERR AUTH", class{name: "auth", absent: true}},
	{"NOPERM", class{name: "permission"}},
	{"WRONGTYPE", class{name: "wrong_type"}},
	{"OOM", class{name: "out_of_memory", passes: true}},
	{"READONLY", class{name: "read_only", passes: true}},
	{"LOADING", class{name: "loading", passes: true, absent: true}},
	{"MASTERDOWN", class{name: "loading", passes: true, absent: true}},
	{"CLUSTERDOWN", class{name: "cluster", passes: true}},
	{"MOVED", class{name: "cluster", passes: true}},
	{"ASK", class{name: "cluster", passes: true}},
	{"TRYAGAIN", class{name: "cluster", passes: true}},
	{"CROSSSLOT", class{name: "cluster"}},
	{"MISCONF", class{name: "server", passes: true}},
	{"BUSY", class{name: "server", passes: true}},
	{"NOREPLICAS", class{name: "server", passes: true}},
}

// isTLS says whether one side does not trust the other. Classes of their own for this and for names make it told when a
// server that was merely not there for a moment is back with another certificate.
func isTLS(err error) bool {
	var own *tls.CertificateVerificationError
	var remote *net.OpError
	return errors.As(err, &own) || errors.As(err, &remote) && remote.Op == "remote error" // an alert
}

// classify returns the class of an error that is not nil.
func classify(err error) class {
	var reply redis.Error
	var timeout net.Error
	var lookup *net.DNSError
	switch {
	case errors.Is(err, errShards):
		return class{name: "shards"}
	case errors.Is(err, errWrongAnswer):
		return class{name: "wrong_answer"}
	case errors.Is(err, errUnstable):
		return class{name: "server", passes: true}
	case isTLS(err):
		return class{name: "tls", passes: true, absent: true}
	case errors.As(err, &lookup):
		return class{name: "dns", passes: true, absent: true}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return class{name: "timeout", passes: true, absent: true}
	case !errors.As(err, &reply):
		return class{name: "connection", passes: true, absent: true}
	}
	text := strings.TrimPrefix(reply.Error(), "ERR Error running script: ")
	for _, c := range classes {
		// Redis 6 puts the error of a command in the middle of that of the script.
		if strings.HasPrefix(text, c.prefix) || strings.Contains(text, "-"+c.prefix+" ") {
			return c.class
		}
	}
	return class{name: "server", passes: true}
}
