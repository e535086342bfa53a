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

	// maxSampleLoad is the largest share of one core's time that listing the store takes. Where a listing takes long, the next one comes later.
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

// Config is the configuration of the extension. Every limit must be positive, unless it says what 0 means.
type Config struct {
	// Server says where to listen and how.
	Server confighttp.ServerConfig `mapstructure:",squash"`

	// Store is the id of the store extension whose totals are shown.
	Store component.ID `mapstructure:"store"`

	// AllowedHosts are the hosts, without a port, that a request may be addressed to besides localhost, the loopback addresses and
	// the host of the endpoint: a page of another site that has its name resolve to this machine is refused.
	AllowedHosts []string `mapstructure:"allowed_hosts"`

	// SampleInterval is how often the store is listed.
	SampleInterval time.Duration `mapstructure:"sample_interval"`

	// SampleTimeout is how long the store may take to list its totals.
	SampleTimeout time.Duration `mapstructure:"sample_timeout"`

	// MaxTrackedKeys is how many keys may have rates at a time. A key needs a place while it grows, and for five minutes after
	// that. 0 = there are no rates.
	MaxTrackedKeys int `mapstructure:"max_tracked_keys"`

	// MaxItems is the most items that one answer may have.
	MaxItems int `mapstructure:"max_items"`

	// MaxConcurrentQueries is how many queries and scrapes are worked on at a time, at most 10,000; others wait for as long as
	// QueryTimeout says.
	MaxConcurrentQueries int `mapstructure:"max_concurrent_queries"`

	// QueryTimeout is how long an answer may take, and how long a scrape may wait until it is worked on.
	QueryTimeout time.Duration `mapstructure:"query_timeout"`

	// MaxSubscribers is how many live streams may be open; 0 = none.
	MaxSubscribers int `mapstructure:"max_subscribers"`

	// RefreshInterval is how often a live stream gets an event.
	RefreshInterval time.Duration `mapstructure:"refresh_interval"`

	// CreatedTimestamps adds to each series in OpenMetrics when it was first counted. Old servers take that for a series of its own.
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

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as well.
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
