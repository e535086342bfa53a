// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// defaultValue returns the default as a value of a key, which a record's attribute of that value has too; nil when
// there is none.
func (a AttributeConfig) defaultValue() (*serieskey.Value, error) {
	if a.DefaultValue == nil {
		return nil, nil //nolint:nilnil // no default is not a mistake
	}
	if n, ok := a.DefaultValue.(uint64); ok && n > math.MaxInt64 {
		v := serieskey.StringValue(strconv.FormatUint(n, 10))
		return &v, nil
	}
	raw := pcommon.NewValueEmpty()
	if err := raw.FromRaw(a.DefaultValue); err != nil {
		return nil, errDefault
	}
	v := serieskey.StringValue(raw.AsString())
	switch raw.Type() {
	case pcommon.ValueTypeBool:
		v = serieskey.BoolValue(raw.Bool())
	case pcommon.ValueTypeInt:
		v = serieskey.IntValue(raw.Int())
	case pcommon.ValueTypeDouble:
		v = serieskey.DoubleValue(raw.Double())
	}
	return &v, nil
}

// namedMetric is a metric of the configuration with its defaults filled in.
type namedMetric struct {
	name string
	MetricConfig
	likeCount bool // as in Config
}

// metrics returns the metrics sorted by name, so that their numbers are the same for every reader of the Config.
func (c *Config) metrics() []namedMetric {
	if len(c.Logs) == 0 {
		return []namedMetric{{name: defaultMetricName, MetricConfig: MetricConfig{Description: defaultMetricDescription, Unit: defaultUnit}}}
	}
	list := make([]namedMetric, 0, len(c.Logs))
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		m := namedMetric{name, c.Logs[name], c.LikeCount}
		m.Unit = cmp.Or(m.Unit, m.defaultUnit())
		if c.LikeCount {
			m.Attributes = withoutRepeats(m.Attributes)
		}
		list = append(list, m)
	}
	return list
}

// withoutRepeats returns the first attribute of each name.
func withoutRepeats(attributes []AttributeConfig) (list []AttributeConfig) {
	for _, a := range attributes {
		if !slices.ContainsFunc(list, func(b AttributeConfig) bool { return a.Key == b.Key }) {
			list = append(list, a)
		}
	}
	return list
}

// sumBytes is the Sum of a metric that adds up the sizes of records.
const sumBytes = "bytes"

// defaultUnit returns the unit, in UCUM as OpenTelemetry wants it, of what a record adds. What an expression yields has
// a unit that only the user knows.
func (m MetricConfig) defaultUnit() string {
	switch m.Sum {
	case "":
		return defaultUnit
	case sumBytes:
		return "By"
	}
	return ""
}

// amount compiles Sum.
func (m MetricConfig) amount(parser *extract.Parser) (extract.Amount, error) {
	switch m.Sum {
	case "":
		return extract.Amount{}, nil
	case sumBytes:
		return extract.Amount{Bytes: true}, nil
	}
	expression, err := parser.Expression(m.Sum)
	return extract.Amount{Expression: expression}, err
}

// isGlob says whether the key stands for names.
func (a AttributeConfig) isGlob(likeCount bool) bool {
	return !likeCount && a.Value == "" && extract.IsGlob(a.Key)
}

// compile compiles all but the default.
func (a AttributeConfig) compile(parser *extract.Parser, likeCount bool) (extract.Attribute, error) {
	made := extract.Attribute{
		Key: a.Key, Glob: a.isGlob(likeCount), Optional: a.Optional, KeepOnOverflow: a.KeepOnOverflow, Hash: a.HashFunction != HashNone,
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

// descriptions returns what a store keeps of the metrics, but for what only the extractor knows.
func (c *Config) descriptions() (list []store.Description) {
	for _, m := range c.metrics() {
		list = append(list, store.Description{
			Metric: m.name, Description: m.Description, Unit: m.Unit, Sum: m.sumOrRecords(), CardinalityLimit: m.cardinalityLimit(),
		})
	}
	return list
}

// describe returns what a store keeps of the metrics.
func (c *Config) describe(x *extract.Extractor) []store.Description {
	list := c.descriptions()
	for i := range list {
		list[i].Key = x.OnlyKey(i)
	}
	return list
}

// attributePath returns the path of the option by which the metric counts by an attribute.
func (m namedMetric) attributePath(name string) string {
	n := slices.IndexFunc(m.Attributes, func(a AttributeConfig) bool { return a.Key == name })
	return fmt.Sprintf("logs::%s::attributes::%d", m.name, n)
}

// attributesCalledLikeFields returns the attributes to count by that are called like a field of the record, as OTTL has
// it: they are valid, and what is meant may be the field.
func (c *Config) attributesCalledLikeFields() (fields []selfmetrics.Field) {
	parser, err := newParser()
	if err != nil {
		return nil // the extractor was made of one
	}
	for _, m := range c.metrics() {
		for _, a := range m.Attributes {
			if value := parser.FieldCalled(a.Key); a.Value == "" && value != "" {
				fields = append(fields, selfmetrics.Field{Metric: m.name, Attribute: a.Key, Option: m.attributePath(a.Key), Value: value})
			}
		}
	}
	return fields
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
		attribute, err := a.compile(parser, m.likeCount)
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

// sumOrRecords returns what a record adds, for those who compare metrics.
func (m MetricConfig) sumOrRecords() string { return cmp.Or(m.Sum, "records") }
