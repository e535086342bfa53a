// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each key that is misspelled gets the right one as a hint, and hides no other mistake.
func TestMisspeltKeys(t *testing.T) {
	for name := range factories {
		for _, o := range optionsOf(name) {
			last := len(o.path) - 1
			key := o.path[last]
			for _, wrong := range misspellings(key) {
				path := append(slices.Clone(o.path[:last]), wrong)
				values := option{path: path}.with(1)
				values["zzzzzzzzzzzzzzzz"] = 1 // another mistake
				err := read(name, values)
				require.Error(t, err, "%s: %v", name, path)
				assert.Contains(t, firstLine(err), fmt.Sprintf("`%s` is unknown: did you mean `", strings.Join(path, "::")), name)
				assert.Contains(t, firstLine(err), key+"`?", name)
				assert.ErrorContains(t, err, "`zzzzzzzzzzzzzzzz` is unknown: valid keys are", name)
			}
		}
	}
}

// misspellings returns a key as others might write it.
func misspellings(key string) []string {
	if len(key) < 6 {
		return nil
	}
	camel := key
	for {
		before, after, found := strings.Cut(camel, "_")
		if !found {
			break
		}
		camel = before + strings.ToUpper(after[:1]) + after[1:]
	}
	swapped := key[:2] + key[3:4] + key[2:3] + key[4:]
	list := []string{key[:2] + key[3:], key + "x", swapped, strings.ToUpper(key), strings.ReplaceAll(key, "_", "-"), camel}
	return slices.DeleteFunc(list, func(wrong string) bool { return wrong == key })
}

// What stands at the wrong place is said to belong elsewhere.
func TestMistakesOfNewcomers(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"processor", `on_full: block`, "`on_full` is unknown: did you mean `queue::on_full`?"},
		{"processor", `conditions: ['true']`, "`conditions` is unknown: did you mean `logs::<name>::conditions`?"},
		{"processor", `logs: {m: {default_value: x}}`, "`logs::m::default_value` is unknown: did you mean `logs::<name>::attributes::<n>::default_value`?"},
		{"processor", `logs: {conditions: ['true']}`, "`logs::conditions` is not below a name: write `logs::<name>::conditions`"},
		{"processor", `logs: [m]`, "`logs` must be a section with a key for each name, such as `logs::name:`"},
		{"processor", `logs: m`, "`logs` must be a section with a key for each name"},
		{"processor", `logs: {m: [a]}`, "`logs::m` must be a section with the keys `description`, "},
		{"processor", `logs: {m: {attributes: [env]}}`, "`logs::m::attributes::0` is \"env\": must be a section: write `key: env`"},
		{"processor", `logs: {m: {attributes: {key: env}}}`, "`logs::m::attributes` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {attributes: env}}`, "`logs::m::attributes` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {attributes: [{key: a, default: x}]}}`, "`logs::m::attributes::0::default` is unknown: did you mean `default_value`?"},
		{"processor", `logs: {m: {resource_attributes: [a]}}`, "`logs::m::resource_attributes` is unknown: did you mean `resource_attributes` at the top level?"},
		{"processor", `logs: {m: {source_attribute: price}}`, "`logs::m::source_attribute` is unknown: write `sum`, with an OTTL expression such as Int("},
		{"processor", `logs: {app::errors: {description: x}}`, "a name cannot have `::` in it"},
		{"processor", `logs: {m: {limit: 1}}`, "`logs::m::limit` is unknown: did you mean `cardinality_limit`?"},
		{"processor", `logs: {m: {conditions: {a: b}}}`, "`logs::m::conditions` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {conditions: 'IsMatch(body, "x")'}}`, "`logs::m::conditions` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {conditions: 'body == "a,b"'}}`, "`logs::m::conditions` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {conditions: [true]}}`, "`logs::m::conditions::0`: must be text: write it in quotes"},
		{"processor", `logs: {m: {unit: 1}}`, "`logs::m::unit`: must be text: write it in quotes"},
		{"processor", `logs: {m: {sum: byte}}`, "`logs::m::sum` is \"byte\": did you mean `bytes`?"},
		{"processor", `logs: {m: {attributes: [{key: a, optional: "yes"}]}}`, "`logs::m::attributes::0::optional` is yes: must be `true` or `false`, without quotes"},
		{"processor", `durable: 1`, "`durable` is 1: must be `true` or `false`, without quotes"},
		{"processor", `store: [tally_memory]`, "`store` must be text: write it in quotes"},
		{"processor", `store: "a b"`, "`store` is \"a b\": "},
		{"processor", `error_mode: ignored`, "`error_mode` is \"ignored\": "},
		{"processor", `queue: {on_full: drop}`, "`queue::on_full` is \"drop\": unknown policy \"drop\": it must be `block`, `reject` or `skip`"},
		{"processor", `logs: {m: {value: bytes}}`, "`logs::m::value` is unknown: write `sum`, which is what the metric sums"},
		{"connector", `logs: {m: {value: 'attributes["n"]'}}`, "`logs::m::value` is unknown: write `sum`, which is what the metric sums"},
		{"processor", `queue: {on_overflow: reject}`, "`queue::on_overflow` is unknown: write `on_full`"},
		{"processor", `logs: {m: {sum: {value: 'attributes["n"]'}}}`, "`logs::m::sum`: must be text: write it in quotes"},
		{"processor", `queue: 5`, "`queue` must be a section with the keys `num_consumers`, `queue_size`, `on_full`"},
		{"processor", `spans: {a: {}}`, "`spans` is unknown: tally counts logs only; keep a `count` connector for `spans` beside it"},
		{"connector", `datapoints: {a: {}}`, "`datapoints` is unknown: tally counts logs only"},
		{"connector", `logs: {m: {atributes: []}}`, "`logs::m::atributes` is unknown: did you mean `attributes`?"},
		{"connector", `collection_interval: 5s`, "`collection_interval` is unknown: valid keys are"},
		{"connector", `temporality: diff`, "`temporality` is \"diff\": "},
		{"receiver", `interval: 5s`, "`interval` is unknown: did you mean `collection_interval`?"},
		{"memory", `storge: file_storage`, "`storge` is unknown: did you mean `storage`?"},
		{"memory", `erase: {a: b}`, "`erase` must be a list: write `- ` before each item"},
		{"redis", `endpoint: localhost:1`, "`endpoint` is unknown: did you mean `endpoints`?"},
		{"redis", `master_name: m`, "`master_name` is unknown: did you mean `sentinel::master_name`?"},
		{"redis", `tls: {insecur: true}`, "`tls::insecur` is unknown: did you mean `insecure`?"},
		{"redis", `password: 12345`, "`password`: must be text: write it in quotes"},
		{"console", `tls: {cert: x}`, "`tls::cert` is unknown: did you mean `cert_"},
		{"console", `refresh: 1s`, "`refresh` is unknown: did you mean `refresh_interval`?"},
		{"console", `endpoint: 13690`, "`endpoint`: must be text: write it in quotes"},
	} {
		t.Run(tt.name+" "+tt.yaml, func(t *testing.T) {
			err := read(tt.name, yaml(t, tt.yaml))
			require.Error(t, err)
			assert.Contains(t, firstLine(err), tt.want)
		})
	}
}

// All that is wrong is told at once, whatever it is.
func TestAllAtOnce(t *testing.T) {
	err := read("connector", yaml(t, `
flush_interval: 15
unknown_option: 1
key_length_limit: 0.5
temporality: never
shutdown_timeout: -1s
queue: {num_consumers: -1, size: 3}
logs:
  a: {sum: byte, attributes: [{keys: x}, {key: b, optional: true, default_value: 1}]}
  b: {conditions: [nonsense], cardinality_limit: -1}`))
	for _, want := range []string{
		"`flush_interval` is 15", "`unknown_option`", "`key_length_limit` is 0.5", "`temporality` is \"never\"", "`shutdown_timeout` is -1s", "`queue::num_consumers` is -1",
		"`queue::size`", "did you mean `bytes`?", "`logs::a::attributes::0::keys`", "`logs::a::attributes::1::default_value`", "`logs::b::conditions::0`", "`logs::b::cardinality_limit` is -1",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "is -1s: must be at least", "no mistake is told twice")
}

// oddities are values that people write where others belong.
var oddities = []any{
	nil, 0, 1, -1, 15, 0.5, 1e300, uint64(1 << 63), true, "", "15", "15s", "7d", "yes", "a", "*", "a,b", "\x00", "${x}",
	[]any{},
	[]any{nil},
	[]any{"a"},
	[]any{1},
	[]any{map[string]any{"key": "a"}},
	[]any{map[string]any{"keys": "a"}},
	[]any{[]any{}},
	map[string]any{},
	map[string]any{"a": nil},
	map[string]any{"a": map[string]any{}},
	map[string]any{"key": "a"},
	map[string]any{"a": map[string]any{"conditions": "true"}},
}

// newcomer returns a configuration as somebody writes it who has not read the docs: options with odd values,
// misspelled, at other places.
func newcomer(random *rand.Rand, options []option) map[string]any {
	values := map[string]any{}
	for range 1 + random.IntN(4) {
		o := options[random.IntN(len(options))]
		path := slices.Clone(o.path)
		if spelt := misspellings(path[len(path)-1]); random.IntN(3) == 0 && len(spelt) > 0 {
			path[len(path)-1] = spelt[random.IntN(len(spelt))]
		}
		switch random.IntN(6) {
		case 0:
			path = path[len(path)-1:]
		case 1:
			path = append(slices.Clone(options[random.IntN(len(options))].path), path...)
		case 2:
			path = path[:1+random.IntN(len(path))]
		}
		at := values
		for _, key := range path[:len(path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		value := oddities[random.IntN(len(oddities))]
		if section, ok := value.(map[string]any); ok {
			value = clone(section)
		}
		at[path[len(path)-1]] = value
	}
	return values
}

// Whatever a newcomer writes is valid, or the first line of the error names the key that is at fault.
func TestNewcomers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name := range factories {
		options := optionsOf(name)
		for range 300 {
			values := newcomer(random, options)
			err := read(name, values)
			if err == nil {
				continue
			}
			assert.True(t, namesKey(name, values, firstLine(err)), "%s: %v: %s", name, values, err)
		}
	}
}

// namesKey says whether a line names a key that was written, or one that the component has, since it may be what is
// missing. The Collector's own validation puts it first; everything else puts it in backquotes.
func namesKey(name string, values map[string]any, line string) bool {
	// the field of the console's struct that is squashed
	key, _, _ := strings.Cut(strings.TrimPrefix(line, "server::"), ": ")
	// and another, in which the transport alone can be invalid
	if key == "netaddr" {
		key = "transport"
	}
	if _, rest, found := strings.Cut(line, "`"); found {
		key, _, _ = strings.Cut(rest, "`")
	}
	root, _, _ := strings.Cut(key, "::")
	_, written := values[root]
	return written || slices.ContainsFunc(optionsOf(name), func(o option) bool { return o.path[0] == root })
}
