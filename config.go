package tallyprocessor

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/identity"
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

	// ResourceAttributes are the names of the resource attributes that tell totals apart. nil = all of them,
	// empty = none.
	ResourceAttributes []string `mapstructure:"resource_attributes"`

	// ErrorMode says what becomes of a record on which an OTTL condition or expression fails. With `ignore` (the default)
	// and `silent` it is not counted, with and without a log line. With `propagate` its batch is refused with a permanent
	// error before it is forwarded.
	ErrorMode ottl.ErrorMode `mapstructure:"error_mode"`

	// AttributeValueLengthLimit is the longest string value in a key, in bytes; a longer one is cut at a character
	// boundary. 0 = no limit.
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
	// to promise that (see the interface Durable). false = it returns when the next consumer has accepted the logs, and a
	// crash loses what the store has not kept by then.
	Durable bool `mapstructure:"durable"`

	// ShutdownTimeout is the longest time that Shutdown waits for calls in flight and queued batches; it must be
	// positive. An earlier deadline of the Collector's goes first.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// MetricConfig is one metric: which records it counts, and by what.
type MetricConfig struct {
	Description string `mapstructure:"description"`

	// Unit of the metric; empty = `{record}`, or `By` for a Value of `bytes`, or `1` for any other Value.
	Unit string `mapstructure:"unit"`

	// Conditions are OTTL conditions on a log record. A record that meets any of them is counted. Empty = all.
	Conditions []string `mapstructure:"conditions"`

	// Attributes are what to count by: one total for each distinct set of their values. Empty = one total.
	Attributes []AttributeConfig `mapstructure:"attributes"`

	// Value is what a record adds: empty = 1, `bytes` = its size in OTLP's protobuf encoding, else an OTTL expression
	// that yields a number which is neither negative nor fractional.
	Value string `mapstructure:"value"`

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
	// is. Empty = the value itself.
	HashFunction HashFunction `mapstructure:"hash_function"`

	// KeepOnOverflow makes the attribute a part of the overflow key.
	KeepOnOverflow bool `mapstructure:"keep_on_overflow"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// QueueConfig configures the bounded worker pool.
type QueueConfig struct {
	// NumConsumers is the number of workers; it must be positive.
	NumConsumers int `mapstructure:"num_consumers"`

	// QueueSize is how many batches may wait to be applied; it must be positive.
	QueueSize int `mapstructure:"queue_size"`

	// OnOverflow says what ConsumeLogs does when the queue is full.
	OnOverflow OverflowPolicy `mapstructure:"on_overflow"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// OverflowPolicy says what ConsumeLogs does when the queue is full.
type OverflowPolicy string

const (
	// OverflowBlock waits for a place until the caller's context ends, then refuses the batch with a retryable
	// error. Nothing was forwarded then.
	OverflowBlock OverflowPolicy = "block"
	// OverflowReject refuses the batch at once with a retryable error. Nothing was forwarded then.
	OverflowReject OverflowPolicy = "reject"
	// OverflowSkip forwards the batch without counting it, and says so in the metric of records not counted.
	OverflowSkip OverflowPolicy = "skip"
)

var _ encoding.TextUnmarshaler = (*OverflowPolicy)(nil)

// UnmarshalText accepts the three policies in any case.
func (p *OverflowPolicy) UnmarshalText(text []byte) error {
	switch policy := OverflowPolicy(strings.ToLower(string(text))); policy {
	case OverflowBlock, OverflowReject, OverflowSkip:
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
			OnOverflow:   OverflowBlock,
		},
		ShutdownTimeout: defaultShutdownTimeout,
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. When a value is of the wrong type, or a word unknown, it also validates what it
// could read, so that the user sees all mistakes at once.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return errors.Join(err, c.Validate())
	}
	return nil
}

var (
	errEmpty       = errors.New("must not be empty")
	errNotPositive = errors.New("must be positive")
	errNegative    = errors.New("must not be negative")
	errTwice       = errors.New("is named twice")
	errReserved    = errors.New("is reserved")
	errScalar      = errors.New("must be a string, an integer, a finite number or a bool")

	errOptionalDefault = errors.New("an attribute that is `optional` needs none")
	errNeedsKey        = errors.New("it needs `hmac_key`")
	errKeyUnused       = errors.New("is set, and no attribute has a `hash_function`: what was to be hashed is not")
	errGlobDefault     = errors.New("a `key` with `*` has none: a record without such attributes is counted without them")
	errNotOurStore     = errors.New("it is for the private store; set it at the extension that `store` names")
)

// Validate returns all mistakes, each with its YAML key and the value found.
func (c *Config) Validate() error {
	parser, err := newParser()
	if err != nil {
		return err
	}
	errs := []error{
		validateNames("resource_attributes", c.ResourceAttributes),
		atLeast("attribute_value_length_limit", c.AttributeValueLengthLimit, 0),
		atLeast("key_length_limit", c.KeyLengthLimit, 0),
		atLeast("queue::num_consumers", c.Queue.NumConsumers, 1),
		atLeast("queue::queue_size", c.Queue.QueueSize, 1),
	}
	if c.Store == nil {
		errs = append(errs, validatePublishedNames(slices.Sorted(maps.Keys(c.Logs))))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		errs = append(errs, c.Logs[name].validate("logs::"+name, name, parser))
	}
	if err := new(ottl.ErrorMode).UnmarshalText([]byte(c.ErrorMode)); err != nil {
		errs = append(errs, fmt.Errorf("`error_mode`: %w", err))
	}
	if err := new(OverflowPolicy).UnmarshalText([]byte(c.Queue.OnOverflow)); err != nil {
		errs = append(errs, fmt.Errorf("`queue::on_overflow`: %w", err))
	}
	errs = append(errs, c.validateHashes())
	switch {
	case c.ForgetAfter < 0:
		errs = append(errs, fmt.Errorf("`forget_after` is %v: %w", c.ForgetAfter, errNegative))
	case c.ForgetAfter > 0 && c.Store != nil:
		errs = append(errs, fmt.Errorf("`forget_after` is %v: %w", c.ForgetAfter, errNotOurStore))
	}
	if c.ShutdownTimeout <= 0 {
		errs = append(errs, fmt.Errorf("`shutdown_timeout` is %v: %w", c.ShutdownTimeout, errNotPositive))
	}
	return errors.Join(errs...)
}

// leastHMACKey is how long a key has to be, in bytes: as long as the hash, since shorter ones weaken it (RFC 2104, section 3).
const leastHMACKey = 32

// validateHashes wants a key where there are hashes, and there only. No message shows the key.
func (c *Config) validateHashes() error {
	var errs []error
	used := false
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		for i, a := range c.Logs[name].Attributes {
			if err := new(HashFunction).UnmarshalText([]byte(a.HashFunction)); err != nil {
				errs = append(errs, fmt.Errorf("`logs::%s::attributes::%d::hash_function`: %w", name, i, err))
			} else if a.HashFunction != HashNone && c.HMACKey == "" {
				errs = append(errs, fmt.Errorf("`logs::%s::attributes::%d::hash_function` is %q: %w", name, i, a.HashFunction, errNeedsKey))
			}
			used = used || a.HashFunction != HashNone
		}
	}
	switch n := len(c.HMACKey); {
	case n > 0 && !used:
		errs = append(errs, fmt.Errorf("`hmac_key` %w", errKeyUnused))
	case n > 0 && n < leastHMACKey:
		errs = append(errs, fmt.Errorf("`hmac_key` has %d bytes: it must have at least %d", n, leastHMACKey))
	}
	return errors.Join(errs...)
}

func (m MetricConfig) validate(path, name string, parser *extract.Parser) error {
	var errs []error
	if name == "" {
		errs = append(errs, fmt.Errorf("`logs`: name of a metric: %w", errEmpty))
	}
	for i, condition := range m.Conditions {
		if _, err := parser.Condition(condition); err != nil {
			errs = append(errs, fmt.Errorf("`%s::conditions::%d` is %q: %w", path, i, condition, err))
		}
	}
	if _, err := m.amount(parser); err != nil {
		errs = append(errs, fmt.Errorf("`%s::value` is %q: %w", path, m.Value, err))
	}
	names := make([]string, len(m.Attributes))
	for i, a := range m.Attributes {
		names[i] = a.Key
		errs = append(errs, a.validate(fmt.Sprintf("%s::attributes::%d", path, i), parser))
	}
	errs = append(errs, validateNames(path+"::attributes", names))
	if m.CardinalityLimit != nil {
		errs = append(errs, atLeast(path+"::cardinality_limit", *m.CardinalityLimit, 0))
	}
	return errors.Join(errs...)
}

func (a AttributeConfig) validate(path string, parser *extract.Parser) error {
	var errs []error
	compiled, err := a.compile(parser)
	if err != nil {
		errs = append(errs, fmt.Errorf("`%s::value` is %q: %w", path, a.Value, err))
	}
	_, err = a.defaultValue()
	switch {
	case err != nil:
	case a.DefaultValue != nil && a.Optional:
		err = errOptionalDefault
	case a.DefaultValue != nil && a.Value == "" && extract.IsGlob(compiled):
		err = errGlobDefault
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("`%s::default_value` is %v: %w", path, a.DefaultValue, err))
	}
	if a.Key == extract.OverflowAttribute {
		errs = append(errs, fmt.Errorf("`%s::key` is %q: %w", path, a.Key, errReserved))
	}
	return errors.Join(errs...)
}

// validateNames wants every name once and none of them empty.
func validateNames(path string, names []string) error {
	var errs []error
	for i, name := range names {
		if name == "" {
			errs = append(errs, fmt.Errorf("`%s::%d`: name of an attribute: %w", path, i, errEmpty))
		} else if slices.Contains(names[:i], name) {
			errs = append(errs, fmt.Errorf("`%s::%d`: attribute %q %w", path, i, name, errTwice))
		}
	}
	return errors.Join(errs...)
}

func atLeast(path string, found, least int) error {
	if found >= least {
		return nil
	}
	if least == 0 {
		return fmt.Errorf("`%s` is %d: %w", path, found, errNegative)
	}
	return fmt.Errorf("`%s` is %d: %w", path, found, errNotPositive)
}

// defaultValue returns the default as a value of a key; nil when there is none.
func (a AttributeConfig) defaultValue() (*identity.Value, error) {
	var v identity.Value
	switch d := a.DefaultValue.(type) {
	case nil:
		return nil, nil //nolint:nilnil // no default is not a mistake
	case string:
		v = identity.StringValue(d)
	case bool:
		v = identity.BoolValue(d)
	case int:
		v = identity.IntValue(int64(d))
	case int64:
		v = identity.IntValue(d)
	case uint64:
		if d > math.MaxInt64 {
			return nil, errScalar
		}
		v = identity.IntValue(int64(d))
	case float64:
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return nil, errScalar
		}
		v = identity.DoubleValue(d)
	default:
		return nil, errScalar
	}
	return &v, nil
}

// namedMetric is a metric of the configuration with its defaults filled in.
type namedMetric struct {
	name string
	MetricConfig
}

// metrics returns the metrics sorted by name, so that their numbers are the same for every reader of the Config.
func (c *Config) metrics() []namedMetric {
	if len(c.Logs) == 0 {
		return []namedMetric{{defaultMetricName, MetricConfig{Description: defaultMetricDescription, Unit: defaultUnit}}}
	}
	list := make([]namedMetric, 0, len(c.Logs))
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		m := namedMetric{name, c.Logs[name]}
		m.Unit = cmp.Or(m.Unit, m.defaultUnit())
		list = append(list, m)
	}
	return list
}

// valueBytes is the Value of a metric that adds up the sizes of records.
const valueBytes = "bytes"

// defaultUnit returns the unit, in UCUM as OpenTelemetry wants it, of what a record adds.
func (m MetricConfig) defaultUnit() string {
	switch m.Value {
	case "":
		return defaultUnit
	case valueBytes:
		return "By"
	}
	return "1"
}

// amount compiles Value.
func (m MetricConfig) amount(parser *extract.Parser) (extract.Amount, error) {
	switch m.Value {
	case "":
		return extract.Amount{}, nil
	case valueBytes:
		return extract.Amount{Bytes: true}, nil
	}
	expression, err := parser.Expression(m.Value)
	return extract.Amount{Expression: expression}, err
}

// compile compiles all but the default.
func (a AttributeConfig) compile(parser *extract.Parser) (extract.Attribute, error) {
	made := extract.Attribute{
		Key: a.Key, Optional: a.Optional, KeepOnOverflow: a.KeepOnOverflow, Hash: a.HashFunction != HashNone,
	}
	var err error
	if a.Value != "" {
		made.Expression, err = parser.Expression(a.Value)
	}
	return made, err
}

func (m MetricConfig) cardinalityLimit() int {
	if m.CardinalityLimit == nil {
		return defaultCardinalityLimit
	}
	return *m.CardinalityLimit
}

// MetricNames returns the names of the metrics to count, sorted.
func (c *Config) MetricNames() []string {
	var names []string
	for _, m := range c.metrics() {
		names = append(names, m.name)
	}
	return names
}

// extractor compiles the configuration.
func (c *Config) extractor() (*extract.Extractor, error) {
	parser, err := newParser()
	if err != nil {
		return nil, err
	}
	settings := extract.Settings{
		ResourceAttributes: c.ResourceAttributes,
		ValueLengthLimit:   c.AttributeValueLengthLimit,
		KeyLengthLimit:     c.KeyLengthLimit,
		StopOnError:        c.ErrorMode == ottl.PropagateError,
	}
	if c.HMACKey != "" {
		settings.HashKey = []byte(c.HMACKey)
	}
	for _, m := range c.metrics() {
		made, err := m.compile(parser)
		if err != nil {
			return nil, fmt.Errorf("`logs::%s`: %w", m.name, err)
		}
		settings.Metrics = append(settings.Metrics, made)
	}
	return extract.New(settings), nil
}

func (m namedMetric) compile(parser *extract.Parser) (made extract.Metric, err error) {
	made.Name = m.name
	if made.Amount, err = m.amount(parser); err != nil {
		return made, err
	}
	for _, text := range m.Conditions {
		condition, err := parser.Condition(text)
		if err != nil {
			return made, err
		}
		made.Conditions = append(made.Conditions, condition)
	}
	for _, a := range m.Attributes {
		attribute, err := a.compile(parser)
		if err != nil {
			return made, err
		}
		if attribute.Default, err = a.defaultValue(); err != nil {
			return made, err
		}
		made.Attributes = append(made.Attributes, attribute)
	}
	return made, nil
}

// newParser returns a parser that says nothing of its own: what is wrong with a condition or an expression is in its
// error, and what fails on a record is for the processor to count and log.
func newParser() (*extract.Parser, error) {
	return extract.NewParser(component.TelemetrySettings{Logger: zap.NewNop()})
}
