// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor/internal/userconfig"
)

// Config is the configuration of the extension.
type Config struct {
	// Endpoints are the addresses of the server; with `sentinel`, of the Sentinels; with `cluster`, of some nodes of
	// the Cluster.
	//
	// Valid: host:port, without a scheme, user or password; more than one with `sentinel` or `cluster` only.
	Endpoints []string `mapstructure:"endpoints"`

	// Sentinel makes Endpoints those of Sentinels, which know the server.
	Sentinel SentinelConfig `mapstructure:"sentinel"`

	// Cluster is for endpoints that are nodes of a Cluster.
	//
	// Valid: not with `sentinel`.
	Cluster bool `mapstructure:"cluster"`

	// Username is the user name for the server.
	Username string `mapstructure:"username"`

	// Password is the password for the server.
	Password configopaque.String `mapstructure:"password"`

	// DB is the number of the database.
	//
	// Valid: 0 or more; 0 with `cluster`.
	DB int `mapstructure:"db"`

	// TLS is on by default, with the certificates of the system. `insecure: true` disables it.
	TLS configtls.ClientConfig `mapstructure:"tls"`

	// Timeout is the longest time to connect, and the longest time to wait for an answer. An attempt takes at most
	// twice as long.
	//
	// Valid: 1ms or more.
	Timeout time.Duration `mapstructure:"timeout"`

	// KeyPrefix is the first part of all key names on the server. Collectors with the same prefix share totals.
	//
	// Valid: letters, digits, and `.`, `_`, `-`, `/`; not empty.
	KeyPrefix string `mapstructure:"key_prefix"`

	// Shards is the number of parts of the totals, which a Cluster spreads over its nodes. All Collectors need the
	// same number. It cannot be changed for existing totals.
	//
	// Valid: 1 to 1,024.
	Shards int `mapstructure:"shards"`

	// FlushInterval is the time between two flushes of changed counts to the server.
	//
	// Valid: 1ms or more.
	FlushInterval time.Duration `mapstructure:"flush_interval"`

	// HeartbeatInterval is the heartbeat interval of idle shards. A Collector without new counts finds out in this
	// time that the server has lost totals.
	//
	// Valid: 1ms or more, and at least `flush_interval`.
	HeartbeatInterval time.Duration `mapstructure:"heartbeat_interval"`

	// MaxBackoff is the longest wait between two attempts while the server fails. Waits begin at 0.1 s and double.
	//
	// Valid: 1ms or more.
	MaxBackoff time.Duration `mapstructure:"max_backoff"`

	// MaxKeys is the number of series that this Collector may contribute to. Further series are counted under the
	// overflow series of their metric.
	//
	// Valid: 1 or more.
	MaxKeys int `mapstructure:"max_keys"`

	// ForgetAfter is how long a series is idle in all Collectors before it is dropped, from the totals and from
	// `max_keys`. All Collectors need the same value. 0 keeps idle series.
	//
	// Valid: 0, or 1ms or more.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	// WriterExpiry is how long the server keeps the contributions of a disconnected Collector apart. The totals stay.
	// The server remembers for seven times as long that the Collector existed.
	//
	// Valid: 2ms or more, and at least twice `heartbeat_interval`.
	WriterExpiry time.Duration `mapstructure:"writer_expiry"`

	// ShutdownTimeout is the longest time of the last flush. An earlier deadline of the Collector has precedence.
	//
	// Valid: 1ms or more.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`

	// Storage is the ID of the storage extension that keeps unsent counts over restarts, one for each `tally_redis`.
	//
	// Default: none: a crash loses unsent counts.
	Storage *component.ID `mapstructure:"storage"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// SentinelConfig says which server the Sentinels are asked for.
type SentinelConfig struct {
	// MasterName is the name of the server at the Sentinels.
	//
	// Default: none: the endpoints are not Sentinels.
	MasterName string `mapstructure:"master_name"`

	// Username is the user name for the Sentinels.
	Username string `mapstructure:"username"`

	// Password is the password for the Sentinels.
	Password configopaque.String `mapstructure:"password"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// maxShards is where listing totals would take more time for round trips than for totals.
const maxShards = 1024

// writerExpiries is for how many times WriterExpiry the server remembers how far a writer was acknowledged, so that one
// that comes back after its slot has expired does not contribute twice.
const writerExpiries = 7

var (
	errNone     = errors.New("must not be empty")
	errBoth     = errors.New("must not be set together with `cluster`")
	errEndpoint = errors.New("must be host:port and nothing else; a scheme, user and password go to the options `tls`, `username` and `password`")
	errPrefix   = errors.New("must be of letters, digits, and any of . _ - /")
)

// hostPattern leaves out whatever a URL has besides a host.
var hostPattern = regexp.MustCompile(`^[\p{L}\p{N}._:%-]*$`)

// isEndpoint says whether a text is host:port. What is not may have a password in it, so nobody shows it.
func isEndpoint(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || !hostPattern.MatchString(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// prefixPattern keeps braces out, which would change the hash tag, and whatever patterns of the ACL give a meaning.
var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

func createDefaultConfig() component.Config {
	return &Config{
		Endpoints:         []string{"localhost:6379"},
		Timeout:           3 * time.Second,
		KeyPrefix:         "tally",
		Shards:            16,
		FlushInterval:     time.Second,
		HeartbeatInterval: 10 * time.Second,
		MaxBackoff:        10 * time.Second,
		MaxKeys:           100_000,
		WriterExpiry:      24 * time.Hour,
		ShutdownTimeout:   5 * time.Second,
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }

// Validate returns every mistake.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Endpoints) == 0 {
		errs = append(errs, fmt.Errorf("`endpoints` %w", errNone))
	}
	for i, endpoint := range c.Endpoints {
		if endpoint == "" {
			errs = append(errs, fmt.Errorf("`endpoints::%d` %w", i, errNone))
		} else if !isEndpoint(endpoint) {
			errs = append(errs, fmt.Errorf("`endpoints::%d` %w", i, errEndpoint))
		}
	}
	if len(c.Endpoints) > 1 && !c.Cluster && c.Sentinel.MasterName == "" {
		errs = append(errs, fmt.Errorf("`endpoints` has %d entries: one server has one; several are for `cluster` or `sentinel`", len(c.Endpoints)))
	}
	if c.Cluster && c.Sentinel.MasterName != "" {
		errs = append(errs, fmt.Errorf("`sentinel` %w", errBoth))
	}
	errs = append(errs, userconfig.NotNegative("db", c.DB), userconfig.Positive("max_keys", c.MaxKeys))
	if c.Cluster && c.DB > 0 {
		errs = append(errs, fmt.Errorf("`db` %w, found %d", errBoth, c.DB))
	}
	if !prefixPattern.MatchString(c.KeyPrefix) {
		errs = append(errs, fmt.Errorf("`key_prefix` %w, found %q", errPrefix, c.KeyPrefix))
	}
	if c.Shards < 1 || c.Shards > maxShards {
		errs = append(errs, fmt.Errorf("`shards` must be from 1 to %d, found %d", maxShards, c.Shards))
	}
	return errors.Join(append(errs, c.validatePeriods())...)
}

func (c *Config) validatePeriods() error {
	err := errors.Join(
		userconfig.Positive("timeout", c.Timeout),
		userconfig.Positive("flush_interval", c.FlushInterval),
		userconfig.Positive("heartbeat_interval", c.HeartbeatInterval),
		userconfig.Positive("max_backoff", c.MaxBackoff),
		userconfig.NotNegative("forget_after", c.ForgetAfter),
		userconfig.Positive("writer_expiry", c.WriterExpiry),
		userconfig.Positive("shutdown_timeout", c.ShutdownTimeout),
		userconfig.Durations(c),
	)
	if err != nil {
		return err
	}
	var errs []error
	if c.HeartbeatInterval < c.FlushInterval {
		errs = append(errs, fmt.Errorf("`heartbeat_interval` must not be shorter than `flush_interval`, found %s and %s",
			c.HeartbeatInterval, c.FlushInterval))
	}
	if c.WriterExpiry < 2*c.HeartbeatInterval {
		errs = append(errs, fmt.Errorf("`writer_expiry` must be at least twice `heartbeat_interval`, found %s and %s",
			c.WriterExpiry, c.HeartbeatInterval))
	}
	return errors.Join(errs...)
}

// settleTime returns how long it takes at most, from when a server has lost something, until each process has sent it
// again. The longest that one is silent is, where the server answers, until it beats, and where the server fails, an
// attempt and the wait after it. Then it finds out, and sends.
func (c *Config) settleTime() time.Duration {
	const attempt = attemptTimeouts
	silence := max(c.HeartbeatInterval+c.FlushInterval, attempt*c.Timeout+c.MaxBackoff)
	return silence + c.FlushInterval + attempt*c.Timeout
}

func (c *Config) periods() periods {
	return periods{slot: c.WriterExpiry, writer: writerExpiries * c.WriterExpiry}
}
