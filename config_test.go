// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
)

func TestDefaultConfig(t *testing.T) {
	require.NoError(t, componenttest.CheckConfigStruct(createDefaultConfig()))
	for _, yaml := range []string{``, `{}`, `logs:`, `logs: {}`} {
		cfg := testConfig(t, yaml)
		assert.Equal(t, createDefaultConfig().(*Config).metrics(), cfg.metrics(), yaml)
		require.Len(t, cfg.metrics(), 1)
		m := cfg.metrics()[0]
		assert.Equal(t, "log.record.count", m.name)
		assert.Equal(t, "The number of log records observed.", m.Description)
		assert.Equal(t, "{record}", m.Unit)
		assert.Equal(t, 10_000, m.cardinalityLimit())
		assert.Nil(t, cfg.ResourceAttributes, "all of them")
	}
}

func TestFullConfig(t *testing.T) {
	cfg := testConfig(t, `
logs:
  errors:
    description: Errors.
    unit: "{error}"
    conditions: ['log.severity_number >= SEVERITY_NUMBER_ERROR', 'attributes["failed"] == true']
    attributes:
      - {key: s, default_value: text}
      - {key: i, default_value: 200}
      - {key: d, default_value: 1.5}
      - {key: b, default_value: false}
      - {key: e, default_value: ""}
      - {key: list, default_value: [1, a]}
      - {key: nan, default_value: .nan}
      - {key: large, default_value: 18446744073709551615}
      - {key: n}
    cardinality_limit: 0
resource_attributes: [service.name]
error_mode: SILENT
attribute_value_length_limit: 0
key_length_limit: 0
queue: {num_consumers: 1, queue_size: 1, on_full: Skip}
shutdown_timeout: 1ms`)
	m := cfg.metrics()[0]
	assert.Equal(t, "{error}", m.Unit)
	assert.Zero(t, m.cardinalityLimit())
	assert.Equal(t, ottl.SilentError, cfg.ErrorMode)
	assert.Equal(t, FullSkip, cfg.Queue.OnFull)
	texts := []string{"text", "200", "1.5", "false", "", `[1,"a"]`, "NaN", "18446744073709551615"}
	for i, want := range texts {
		v, err := m.Attributes[i].defaultValue()
		require.NoError(t, err)
		assert.Equal(t, want, v.AsString())
	}
	v, err := m.Attributes[len(texts)].defaultValue()
	require.NoError(t, err)
	assert.Nil(t, v)
}

func TestNoResourceAttributes(t *testing.T) {
	cfg := testConfig(t, `resource_attributes: []`)
	assert.NotNil(t, cfg.ResourceAttributes)
	assert.Empty(t, cfg.ResourceAttributes)
}

// Each mistake is named by its YAML key and by what was found, and all of them at once.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"queue_size 0", `queue: {queue_size: 0}`, []string{"`queue::queue_size` is 0: must be positive"}},
		{"queue_size -1", `queue: {queue_size: -1}`, []string{"`queue::queue_size` is -1: must be positive"}},
		{"num_consumers 0", `queue: {num_consumers: 0}`, []string{"`queue::num_consumers` is 0: must be positive"}},
		{"num_consumers -1", `queue: {num_consumers: -1}`, []string{"`queue::num_consumers` is -1: must be positive"}},
		{"shutdown_timeout 0", `shutdown_timeout: 0s`, []string{"`shutdown_timeout` is 0s: must be positive"}},
		{"shutdown_timeout -1", `shutdown_timeout: -1s`, []string{"`shutdown_timeout` is -1s: must be positive"}},
		{"value limit -1", `attribute_value_length_limit: -1`, []string{"`attribute_value_length_limit` is -1: must not be negative"}},
		{"key limit -1", `key_length_limit: -1`, []string{"`key_length_limit` is -1: must not be negative"}},
		{"cardinality_limit -1", `logs: {m: {cardinality_limit: -1}}`, []string{"`logs::m::cardinality_limit` is -1: must not be negative"}},
		{"unknown policy", `queue: {on_full: drop}`, []string{"on_full", `unknown policy "drop"`}},
		{"unknown error mode", `error_mode: loud`, []string{"error_mode", "loud"}},
		{"unknown key", `log: {}`, []string{"log"}},
		{"unknown key below", `logs: {m: {atributes: []}}`, []string{"atributes"}},
		{"wrong type", `queue: {queue_size: many}`, []string{"`queue::queue_size` is many: must be an integer"}},
		{"empty metric name", `logs: {"": {}}`, []string{"`logs`: name of a metric: must not be empty"}},
		{"empty attribute", `logs: {m: {attributes: [{key: ""}]}}`, []string{"`logs::m::attributes::0`: name of an attribute: must not be empty"}},
		{"attribute twice", `logs: {m: {attributes: [{key: a}, {key: b}, {key: a}]}}`, []string{"`logs::m::attributes::2`: attribute \"a\" is named twice"}},
		{"reserved attribute", `logs: {m: {attributes: [{key: otel.metric.overflow}]}}`, []string{"`logs::m::attributes::0::key`", "is reserved"}},
		{"resource attribute empty", `resource_attributes: [a, ""]`, []string{"`resource_attributes::1`: name of an attribute: must not be empty"}},
		{"resource attribute twice", `resource_attributes: [a, a]`, []string{"`resource_attributes::1`: attribute \"a\" is named twice"}},
		{"condition does not parse", `logs: {m: {conditions: ['true', 'attributes["a"] == == 1']}}`, []string{"`logs::m::conditions::1`", `attributes[\"a\"] == == 1`, "1:20"}},
		{"condition of another signal", `logs: {m: {conditions: ['span.name == "a"']}}`, []string{"`logs::m::conditions::0`", "span.name"}},
		{"two names are one in Prometheus", `logs: {a.b: {}, a_b: {}}`, []string{"`logs::a_b`", "`logs::a.b`"}},
		{"a name of the Collector's own", `logs: {otelcol.process.uptime: {}}`, []string{"`logs::otelcol.process.uptime`", "is reserved"}},
		{"amount does not parse", `logs: {m: {sum: 'attributes["a"'}}`, []string{"`logs::m::sum` is"}},
		{"value does not parse", `logs: {m: {attributes: [{key: a, value: 'Concat('}]}}`, []string{"`logs::m::attributes::0::value` is \"Concat(\""}},
		{"value of another signal", `logs: {m: {sum: span.name}}`, []string{"`logs::m::sum`", "span.name"}},
		{"an editor is no value", `logs: {m: {sum: 'set(body, "x")'}}`, []string{"`logs::m::sum`"}},
		{"optional with a default", `logs: {m: {attributes: [{key: a, optional: true, default_value: 1}]}}`, []string{"`logs::m::attributes::0::default_value` is 1", "`optional`"}},
		{"glob with a default", `logs: {m: {attributes: [{key: "a*", default_value: 1}]}}`, []string{"`logs::m::attributes::0::default_value` is 1", "`*`"}},
		{"glob twice", `logs: {m: {attributes: [{key: "a*"}, {key: "a*"}]}}`, []string{"`logs::m::attributes::1`: attribute \"a*\" is named twice"}},
		{"hash without a key", `logs: {m: {attributes: [{key: a}, {key: b, hash_function: hmac-sha256}]}}`, []string{"`logs::m::attributes::1::hash_function` is \"hmac-sha256\": needs `hmac_key`"}},
		{"unknown hash", `logs: {m: {attributes: [{key: b, hash_function: md5}]}}`, []string{"hash_function", `unknown function "md5"`}},
		{"key without a hash", `{hmac_key: 0123456789abcdef0123456789abcdef, logs: {m: {attributes: [{key: b}]}}}`, []string{"`hmac_key` is set, but no attribute has a `hash_function`"}},
		{"short key", `{hmac_key: 0123456789abcdef0123456789abcde, logs: {m: {attributes: [{key: b, hash_function: hmac-sha256}]}}}`, []string{"`hmac_key` has 31 bytes: it must have at least 32"}},
		{"hash beside all of the resource", `{hmac_key: 0123456789abcdef0123456789abcdef, logs: {m: {attributes: [{key: b, hash_function: hmac-sha256}]}}}`, []string{"`resource_attributes` is absent"}},
		{"hash beside its value", `{resource_attributes: [a, b], hmac_key: 0123456789abcdef0123456789abcdef, logs: {m: {attributes: [{key: b, hash_function: hmac-sha256}]}}}`, []string{"`logs::m::attributes::0::hash_function` of \"b\": `resource_attributes` keeps"}},
		{"hash beside its value under a glob", `{resource_attributes: ["b*"], hmac_key: 0123456789abcdef0123456789abcdef, logs: {m: {attributes: [{key: bc, hash_function: hmac-sha256}]}}}`, []string{"`logs::m::attributes::0::hash_function` of \"bc\": `resource_attributes` keeps"}},
		{"hash of a glob beside its values under another", `{resource_attributes: ["*b"], hmac_key: 0123456789abcdef0123456789abcdef, logs: {m: {attributes: [{key: "a*", hash_function: hmac-sha256}]}}}`, []string{"`logs::m::attributes::0::hash_function` of \"a*\": `resource_attributes` keeps"}},
		{"forget_after -1", `forget_after: -1s`, []string{"`forget_after` is -1s: must not be negative"}},
		{"forget_after with a store", `{forget_after: 1h, store: tally_memory}`, []string{"`forget_after` is 1h0m0s", "set it at the extension that `store` names"}},
		{
			"all at once",
			`
logs:
  m: {conditions: [nonsense], cardinality_limit: -3, attributes: [{key: a}, {key: a}]}
queue: {num_consumers: -2, queue_size: lots, on_full: drop}
error_mode: loud
shutdown_timeout: -1s`,
			[]string{
				"`logs::m::conditions::0`", "`logs::m::cardinality_limit` is -3", "`logs::m::attributes::1`",
				"`queue::num_consumers` is -2", "queue_size", "drop", "loud", "`shutdown_timeout` is -1s",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readConfig(t, tt.yaml)
			require.Error(t, err)
			for _, want := range tt.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

// What cannot come from YAML can come from Go.
func TestMistakesFromGo(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.ErrorMode = "loud"
	cfg.Queue.OnFull = ""
	cfg.Logs = map[string]MetricConfig{"m": {Attributes: []AttributeConfig{
		{Key: "a", DefaultValue: make(chan int)}, {Key: "b", DefaultValue: struct{}{}, HashFunction: "rot13"},
	}}}
	err := cfg.Validate()
	for _, want := range []string{"`error_mode`", "`queue::on_full`", "attributes::0::default_value` is", "attributes::1::default_value", `unknown function "rot13"`} {
		assert.ErrorContains(t, err, want)
	}
}

// The `logs` section of the count connector's configurations works unchanged. These are the forms that its
// documentation and tests use.
func TestCountConnectorLogsSection(t *testing.T) {
	cfg := testConfig(t, `
logs:
  limited.logs:
    description: Log count by condition
    conditions:
      - resource.attributes["resource.required"] != nil
      - attributes["log.required"] == "foo"
      - log.attributes["log.required"] == "foo"
      - IsMatch(body, "E.*") and severity_number > SEVERITY_NUMBER_INFO
      - instrumentation_scope.name == "x"
    attributes:
      - key: log.required
      - key: env
        default_value: unspecified_environment
      - key: code
        default_value: 0
  plain: {}`)
	names := []string{}
	for _, m := range cfg.metrics() {
		names = append(names, m.name)
	}
	assert.Equal(t, "limited.logs plain", strings.Join(names, " "))
	_, err := cfg.extractor()
	require.NoError(t, err)
}
