// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor/internal/userconfig"
)

const (
	// defaultEndpoint has a port that no outgoing connection has: Linux takes those from 32768 on.
	defaultEndpoint = "localhost:13690"
	defaultLimit    = 20     // items of an answer, where the query does not say
	maxConcurrent   = 10_000 // queries

	// maxSampleLoad is the largest share of one core's time that listing the store takes. Where a listing takes long,
	// the next one comes later.
	maxSampleLoad = 0.03

	maxQueryTerms  = 16     // conditions and attributes to group by, of one query
	maxQueryLength = 16_384 // bytes of a query string
	cursorLifetime = 10 * time.Minute
)

// fixed are the options of earlier versions that have become constants.
var fixed = userconfig.Fixed{
	"max_sample_load": maxSampleLoad, "max_query_terms": maxQueryTerms, "max_query_length": maxQueryLength, "cursor_lifetime": cursorLifetime,
	"max_cached_answers": nil,
}

// Config is the configuration of the extension.
type Config struct {
	// Server is the HTTP server: `tls`, `auth`, `cors`, `middlewares` and so on.
	Server confighttp.ServerConfig `mapstructure:",squash"`

	// Store is the ID of the store extension to show.
	Store component.ID `mapstructure:"store"`

	// AllowedHosts are the hosts that a request may be addressed to, besides `localhost`, the loopback addresses and
	// the host of `endpoint`. Others get 421, which stops DNS rebinding.
	//
	// Default: `[]`.
	//
	// Valid: host names or addresses in ASCII, without a port or a pattern.
	AllowedHosts []string `mapstructure:"allowed_hosts"`

	// SampleInterval is the time between two listings of the store.
	//
	// Valid: 1ms or more.
	SampleInterval time.Duration `mapstructure:"sample_interval"`

	// SampleTimeout is the longest time that the store may take to list its totals.
	//
	// Valid: 1ms or more.
	SampleTimeout time.Duration `mapstructure:"sample_timeout"`

	// MaxTrackedKeys is the number of series that may have rates at a time. A series needs a place while it grows,
	// and for five minutes after that. 0 disables rates.
	//
	// Valid: 0 or more.
	MaxTrackedKeys int `mapstructure:"max_tracked_keys"`

	// MaxItems is the largest number of items of one answer.
	//
	// Valid: 1 or more.
	MaxItems int `mapstructure:"max_items"`

	// MaxConcurrentQueries is the number of queries and scrapes that are answered at a time. Others wait for at most
	// `query_timeout`.
	//
	// Valid: 1 to 10,000.
	MaxConcurrentQueries int `mapstructure:"max_concurrent_queries"`

	// QueryTimeout is the longest time of an answer, with the wait, and the longest wait of a scrape. After it, the
	// answer is 503.
	//
	// Valid: 1ms or more.
	QueryTimeout time.Duration `mapstructure:"query_timeout"`

	// MaxSubscribers is the number of live streams that may be open. Further ones get 503. 0 disables live streams.
	//
	// Valid: 0 or more.
	MaxSubscribers int `mapstructure:"max_subscribers"`

	// RefreshInterval is the time between two events of a live stream. A client that is three events late is
	// disconnected.
	//
	// Valid: 1ms or more.
	RefreshInterval time.Duration `mapstructure:"refresh_interval"`

	// CreatedTimestamps adds `_created` to each series in OpenMetrics. Prometheus 2 takes those for series of their
	// own.
	CreatedTimestamps bool `mapstructure:"created_timestamps"`

	sampleLoad float64 // maxSampleLoad, but in tests
}

var (
	errNoStore  = errors.New("must be the id of a store extension, such as tally_memory")
	errHost     = errors.New("must be one host name or address, without a port: there are no patterns and no ranges")
	errNotASCII = errors.New("must be in ASCII, as browsers send it (xn--...)")
	errTimeout  = errors.New("must be positive, or a slow client could hold a connection for ever")
)

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = defaultEndpoint
	server.ReadHeaderTimeout = 5 * time.Second
	server.ReadTimeout = 10 * time.Second
	server.MaxRequestBodySize = 4096
	return &Config{
		Server:               server,
		SampleInterval:       2 * time.Second,
		SampleTimeout:        30 * time.Second,
		MaxTrackedKeys:       100_000,
		MaxItems:             1000,
		MaxConcurrentQueries: 1,
		QueryTimeout:         10 * time.Second,
		MaxSubscribers:       100,
		RefreshInterval:      2 * time.Second,
		sampleLoad:           maxSampleLoad,
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c, fixed) }

// Validate returns every mistake.
func (c *Config) Validate() error {
	var errs []error
	if c.Store == (component.ID{}) {
		errs = append(errs, fmt.Errorf("`store` %w", errNoStore))
	}
	errs = append(errs,
		userconfig.Positive("sample_interval", c.SampleInterval),
		userconfig.Positive("sample_timeout", c.SampleTimeout),
		userconfig.Positive("query_timeout", c.QueryTimeout),
		userconfig.Positive("refresh_interval", c.RefreshInterval),
		userconfig.Durations(c),
		userconfig.NotNegative("max_tracked_keys", c.MaxTrackedKeys),
		userconfig.Positive("max_items", c.MaxItems),
		userconfig.UpTo("max_concurrent_queries", c.MaxConcurrentQueries, maxConcurrent, "each query works on all keys, and has memory of its own"),
		userconfig.NotNegative("max_subscribers", c.MaxSubscribers),
	)
	return errors.Join(append(errs, c.validateTimeouts(), c.validateHosts())...)
}

// validateTimeouts wants those of confighttp that keep slow clients from holding connections.
func (c *Config) validateTimeouts() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"read_header_timeout", c.Server.ReadHeaderTimeout},
		{"read_timeout", c.Server.ReadTimeout},
		{"write_timeout", c.Server.WriteTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("`%s` is %v: %w", d.name, d.value, errTimeout))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateHosts() error {
	var errs []error
	for i, host := range c.AllowedHosts {
		if _, _, err := net.SplitHostPort(host); err == nil || host == "" || strings.ContainsAny(host, "*?/ ,") {
			errs = append(errs, fmt.Errorf("`allowed_hosts::%d` %w, found %q", i, errHost, host))
		} else if strings.ContainsFunc(host, func(c rune) bool { return c > unicode.MaxASCII }) {
			errs = append(errs, fmt.Errorf("`allowed_hosts::%d` %w, found %q", i, errNotASCII, host))
		}
	}
	return errors.Join(errs...)
}
