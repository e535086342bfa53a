// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

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

// Config is the configuration of the processor. docs/configuration.md is made of the comments of its fields.
type Config struct {
	// Logs are the metrics to count, by name.
	//
	// Default: one metric, `log.record.count`, that counts all records.
	//
	// Valid: names that differ in Prometheus: `http.requests` and `http_requests_total` do not. Without `store`, a
	// name has an ASCII letter or digit and is not one of the Collector's own metrics.
	Logs map[string]MetricConfig `mapstructure:"logs"`

	// ResourceAttributes are the resource attributes to count by. `*` in a name stands for any text, as in `k8s.*`.
	// `[]` means none.
	//
	// Default: all.
	//
	// Valid: each name once; required with `hash_function`.
	ResourceAttributes []string `mapstructure:"resource_attributes"`

	// ErrorMode is what happens to a record when an OTTL expression fails on it, or a condition fails and the record
	// meets no other. `ignore` does not count the record and logs that, at most one line a minute for each metric and
	// reason. `silent` does not count it and logs nothing. `propagate` refuses its batch with a permanent error
	// before the batch is forwarded.
	//
	// Valid: `ignore`, `silent` or `propagate`.
	ErrorMode ottl.ErrorMode `mapstructure:"error_mode"`

	// AttributeValueLengthLimit is the longest string value of an attribute, in bytes. A longer value is truncated at
	// a character boundary. 0 disables the limit. Lists and maps nested deeper than 64 are always truncated there.
	//
	// Valid: 0 or more.
	AttributeValueLengthLimit int `mapstructure:"attribute_value_length_limit"`

	// KeyLengthLimit is the longest key, which is the text of a series in a store, in bytes. A record with a longer
	// key is counted under an overflow series. 0 disables the limit.
	//
	// Valid: 0 or more.
	KeyLengthLimit int `mapstructure:"key_length_limit"`

	Queue QueueConfig `mapstructure:"queue"`

	// HMACKey is the secret for attributes with `hash_function`. Take it from the environment:
	// `${env:TALLY_HMAC_KEY}`.
	//
	// Valid: 32 bytes or more, with `hash_function` only.
	HMACKey configopaque.String `mapstructure:"hmac_key"`

	// ForgetAfter is how long a series of the private store is idle before it is dropped. Its place in
	// `cardinality_limit` is free then. 0 keeps idle series. With `store`, set it at the store.
	//
	// Valid: 0, or 1ms or more; 0 with `store`.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	// LogOverflowedKeys lets log lines about a full limit name the five keys that overflow most. Keys are log
	// content.
	LogOverflowedKeys bool `mapstructure:"log_overflowed_keys"`

	// Store is the ID of the store extension to count in. Processors with the same store share its totals.
	//
	// Default: a private store in memory, whose totals are on the Collector's own telemetry.
	Store *component.ID `mapstructure:"store"`

	// Durable acknowledges a batch only when the store has made its counts durable. See [durability](durability.md).
	// Without it, a crash loses the counts since the last flush of the store.
	//
	// Valid: `true` takes a store that outlives the process: `tally_memory` with `storage`, or `tally_redis`.
	Durable bool `mapstructure:"durable"`

	// ShutdownTimeout is the longest time that Shutdown waits for calls in flight and queued batches. An earlier
	// deadline of the Collector has precedence.
	//
	// Valid: 1ms or more.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`

	// LikeCount gives Logs the meaning that it has for the `count` connector: `*` in a Key is literal, an attribute
	// may be listed twice, which counts by it once, and metrics may have any name, since their totals are not on the
	// Collector's telemetry. No YAML sets it; the connector `tally` does.
	LikeCount bool `mapstructure:"-"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// MetricConfig is one metric: which records it counts, and by what.
type MetricConfig struct {
	// Description is the description of the metric.
	Description string `mapstructure:"description"`

	// Unit is the unit of the metric, in UCUM.
	//
	// Default: `{record}`; with `sum: bytes`, `By`; with any other `sum`, none.
	Unit string `mapstructure:"unit"`

	// Conditions are [OTTL](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/ottl)
	// conditions on a log record. A record that meets any of them is counted. `[]` counts all records.
	//
	// Default: `[]`.
	Conditions []string `mapstructure:"conditions"`

	// Attributes are the attributes to count by. Each distinct set of their values is a series. `[]` makes one series
	// for each resource.
	//
	// Default: `[]`.
	Attributes []AttributeConfig `mapstructure:"attributes"`

	// Sum is the number that each record adds to the total. `bytes` is the size of the record in the protobuf
	// encoding of OTLP. Anything else is an OTTL expression for a number that is neither negative nor fractional.
	//
	// Default: 1 for each record.
	//
	// Valid: `bytes`, or an OTTL expression.
	Sum string `mapstructure:"sum"`

	// CardinalityLimit is the number of distinct series of the metric, over all resources. Further series are counted
	// under overflow series. Processors that count the metric in one store share the limit. 0 disables it.
	//
	// Default: `10000`.
	//
	// Valid: 0 or more.
	CardinalityLimit *int `mapstructure:"cardinality_limit"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// AttributeConfig is one attribute to count by.
type AttributeConfig struct {
	// Key is the name of an attribute of the record, else of its scope, else of its resource. `*` stands for any
	// text: each attribute of the record with a matching name is counted by. With `value`, it is the name of the
	// result.
	//
	// Default: required.
	//
	// Valid: each name once; not `otel.metric.overflow`.
	Key string `mapstructure:"key"`

	// Value is an OTTL expression for the value. Without it, the value is that of the attribute `key`.
	//
	// Valid: an OTTL expression, in which paths may name their context (`log.attributes["a"]`) or not
	// (`attributes["a"]`).
	Value string `mapstructure:"value"`

	// DefaultValue is the value for records without the attribute. A list or map is counted by as its JSON. Without a
	// default, such records are not counted, unless the attribute is `optional`.
	//
	// Valid: a string, number, boolean, list or map; not with `optional`, nor with `*` in `key`.
	DefaultValue any `mapstructure:"default_value"`

	// Optional counts records without the attribute, in a series without it.
	//
	// Valid: `true` takes no `default_value`.
	Optional bool `mapstructure:"optional"`

	// HashFunction replaces the value with the hash of its text, as 64 hexadecimal digits. A `default_value` is not
	// hashed. A string is hashed in full; a list, a map or bytes as the text that the series would show.
	//
	// Default: the value itself.
	//
	// Valid: `hmac-sha256`; takes `hmac_key` and `resource_attributes`.
	HashFunction HashFunction `mapstructure:"hash_function"`

	// KeepOnOverflow keeps the attribute in overflow series.
	KeepOnOverflow bool `mapstructure:"keep_on_overflow"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// QueueConfig configures the bounded worker pool.
type QueueConfig struct {
	// NumConsumers is the number of workers that add counts to the store.
	//
	// Valid: 1 to 10,000.
	NumConsumers int `mapstructure:"num_consumers"`

	// QueueSize is the number of batches that may be forwarded, or wait to be counted, at once.
	//
	// Valid: 1 to 10,000,000.
	QueueSize int `mapstructure:"queue_size"`

	// OnFull is what happens to a batch when the queue is full. `block` waits until the caller's deadline, then
	// refuses the batch. `reject` refuses it at once. `skip` forwards it without counting it.
	//
	// Valid: `block`, `reject` or `skip`.
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

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }
