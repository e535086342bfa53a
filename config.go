package tallyprocessor

import (
	"encoding"
	"fmt"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor/internal/userconfig"
)

const (
	defaultMetricName        = "log.record.count"
	defaultMetricDescription = "The number of log records observed."
	defaultUnit              = "{record}"

	defaultCardinalityLimit = 10_000
	defaultNumConsumers     = 2
	defaultQueueSize        = 1000
	defaultShutdownTimeout  = 5 * time.Second

	// 256 bytes hold every value that is worth counting by; what is longer is text, not a dimension.
	defaultValueLengthLimit = 256
	// 4 KiB hold a Kubernetes pod's resource attributes (about 20 of them, some 1200 bytes) three times over.
	defaultKeyLengthLimit = 4096
)

// Config is the configuration of the processor. The README explains each option.
type Config struct {
	// Logs are the metrics to count, by name. Empty = one, `log.record.count`, over all records.
	Logs map[string]MetricConfig `mapstructure:"logs"`

	// ResourceAttributes are the names of the resource attributes that tell totals apart; `*` in one stands for any text.
	// nil = all of them, empty = none.
	ResourceAttributes []string `mapstructure:"resource_attributes"`

	// ErrorMode says what becomes of a record on which an OTTL condition or expression fails. With `ignore` (the default)
	// and `silent` it is not counted, with and without a log line. With `propagate` its batch is refused with a permanent
	// error before it is forwarded.
	ErrorMode ottl.ErrorMode `mapstructure:"error_mode"`

	// AttributeValueLengthLimit is the longest string value in a key, in bytes; a longer one is cut at a character
	// boundary. 0 = no limit. Whatever it is, the text of a list or map ends where they stand in one another more than 64 deep.
	AttributeValueLengthLimit int `mapstructure:"attribute_value_length_limit"`

	// KeyLengthLimit is the longest key in bytes; what has a longer one is counted under an overflow key. 0 = no
	// limit.
	KeyLengthLimit int `mapstructure:"key_length_limit"`

	Queue QueueConfig `mapstructure:"queue"`

	// HMACKey is the secret of the attributes that have a HashFunction, at least 32 bytes long. Empty = there are none.
	HMACKey configopaque.String `mapstructure:"hmac_key"`

	// ForgetAfter is how long a key of the private store is idle before it is dropped, and its slot free. 0 = it never is.
	// With a Store that is for the store to say.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	// LogOverflowedKeys allows the log lines about a full limit to name the keys that were counted under an overflow key
	// most. They are log content.
	LogOverflowedKeys bool `mapstructure:"log_overflowed_keys"`

	// Store is the id of the extension whose store to count in. nil = a private store in memory, whose totals are on
	// the Collector's own telemetry.
	Store *component.ID `mapstructure:"store"`

	// Durable makes ConsumeLogs return nil only when the counts of the batch are in the Store for good, which must be able
	// to promise that (see Durable in store.Info). false = it returns when the next consumer has accepted the logs, and a
	// crash loses what the store has not kept by then.
	Durable bool `mapstructure:"durable"`

	// ShutdownTimeout is the longest time that Shutdown waits for calls in flight and queued batches; it must be
	// positive. An earlier deadline of the Collector's goes first.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`

	// LikeCount gives Logs the meaning that it has for the `count` connector: `*` in a Key stands for itself, an attribute may be
	// listed twice, which counts by it once, and metrics may have any name, since their totals are not on the Collector's
	// telemetry. No YAML sets it; the connector `tally` does.
	LikeCount bool `mapstructure:"-"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// MetricConfig is one metric: which records it counts, and by what.
type MetricConfig struct {
	Description string `mapstructure:"description"`

	// Unit of the metric; empty = `{record}`, or `By` for a Sum of `bytes`, or none for any other Sum.
	Unit string `mapstructure:"unit"`

	// Conditions are OTTL conditions on a log record. A record that meets any of them is counted. Empty = all.
	Conditions []string `mapstructure:"conditions"`

	// Attributes are what to count by: one total for each distinct set of their values. Empty = one total.
	Attributes []AttributeConfig `mapstructure:"attributes"`

	// Sum is what the metric sums: empty = 1 for each record, `bytes` = its size in OTLP's protobuf encoding, else an OTTL expression
	// that yields a number which is neither negative nor fractional.
	Sum string `mapstructure:"sum"`

	// CardinalityLimit is how many distinct keys the metric has before further ones are counted under overflow
	// keys. nil = 10000, 0 = no limit.
	CardinalityLimit *int `mapstructure:"cardinality_limit"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// AttributeConfig is one attribute to count by.
type AttributeConfig struct {
	// Key is the name of an attribute of the record, or else of its scope, or else of its resource. With Value it is but
	// a name. Without, `*` in it stands for any text: each attribute of the record whose name matches is one to count by.
	Key string `mapstructure:"key"`

	// Value is an OTTL expression that yields the value, instead of a look-up.
	Value string `mapstructure:"value"`

	// DefaultValue is a string, number or bool for records that have no such attribute. nil = do not count those, unless
	// the attribute is Optional.
	DefaultValue any `mapstructure:"default_value"`

	// Optional counts records that have no such attribute under a key without it.
	Optional bool `mapstructure:"optional"`

	// HashFunction makes the hash of the value's text stand for the value, as 64 hexadecimal digits; a DefaultValue stays as it
	// is. Of a string it is the hash of all of it, of a list, a map or bytes that of the text that the key would have. Empty = the
	// value itself.
	HashFunction HashFunction `mapstructure:"hash_function"`

	// KeepOnOverflow makes the attribute a part of the overflow key.
	KeepOnOverflow bool `mapstructure:"keep_on_overflow"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// QueueConfig configures the bounded worker pool.
type QueueConfig struct {
	// NumConsumers is the number of workers, from 1 to 10,000.
	NumConsumers int `mapstructure:"num_consumers"`

	// QueueSize is how many batches may wait to be applied, from 1 to 10,000,000.
	QueueSize int `mapstructure:"queue_size"`

	// OnFull says what ConsumeLogs does when the queue is full.
	OnFull FullPolicy `mapstructure:"on_full"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// FullPolicy is what ConsumeLogs does when the queue is full.
type FullPolicy string

const (
	// FullBlock waits for a place until the caller's context ends, then refuses the batch with a retryable
	// error. Nothing was forwarded then.
	FullBlock FullPolicy = "block"
	// FullReject refuses the batch at once with a retryable error. Nothing was forwarded then.
	FullReject FullPolicy = "reject"
	// FullSkip forwards the batch without counting it, and says so in the metric of records not counted.
	FullSkip FullPolicy = "skip"
)

var _ encoding.TextUnmarshaler = (*FullPolicy)(nil)

// UnmarshalText accepts the three policies in any case.
func (p *FullPolicy) UnmarshalText(text []byte) error {
	switch policy := FullPolicy(strings.ToLower(string(text))); policy {
	case FullBlock, FullReject, FullSkip:
		*p = policy
		return nil
	}
	return fmt.Errorf("unknown policy %q: it must be `block`, `reject` or `skip`", text)
}

// HashFunction is what replaces the values of an attribute. The names are those of the Collector's redaction processor.
type HashFunction string

const (
	// HashNone leaves values as they are.
	HashNone HashFunction = ""
	// HashHMACSHA256 is HMAC-SHA256 under the HMACKey of the Config.
	HashHMACSHA256 HashFunction = "hmac-sha256"
)

var _ encoding.TextUnmarshaler = (*HashFunction)(nil)

// UnmarshalText accepts the function in any case.
func (f *HashFunction) UnmarshalText(text []byte) error {
	switch function := HashFunction(strings.ToLower(string(text))); function {
	case HashNone, HashHMACSHA256:
		*f = function
		return nil
	}
	return fmt.Errorf("unknown function %q: it must be `hmac-sha256`", text)
}

func createDefaultConfig() component.Config {
	return &Config{
		ErrorMode:                 ottl.IgnoreError,
		AttributeValueLengthLimit: defaultValueLengthLimit,
		KeyLengthLimit:            defaultKeyLengthLimit,
		Queue: QueueConfig{
			NumConsumers: defaultNumConsumers,
			QueueSize:    defaultQueueSize,
			OnFull:       FullBlock,
		},
		ShutdownTimeout: defaultShutdownTimeout,
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }
