// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/memorystore"
	"github.com/logtally/tallyprocessor/redisstore"
	"github.com/logtally/tallyprocessor/tallyconnector"
	"github.com/logtally/tallyprocessor/tallyconsole"
	"github.com/logtally/tallyprocessor/tallyreceiver"
)

// factories make the configurations of all components.
var factories = map[string]component.Factory{
	"processor": tallyprocessor.NewFactory(),
	"connector": tallyconnector.NewFactory(),
	"receiver":  tallyreceiver.NewFactory(),
	"memory":    memorystore.NewFactory(),
	"redis":     redisstore.NewFactory(),
	"console":   tallyconsole.NewFactory(),
}

// needed is what each valid configuration has.
var needed = map[string]map[string]any{
	"receiver": {"store": "tally_memory"},
	"console":  {"store": "tally_memory"},
}

// read reads and validates a configuration as the Collector does.
func read(name string, values map[string]any) error {
	values = clone(values)
	for key, value := range needed[name] {
		if _, set := values[key]; !set {
			values[key] = value
		}
	}
	cfg := factories[name].CreateDefaultConfig()
	if err := confmap.NewFromStringMap(values).Unmarshal(cfg); err != nil {
		return err
	}
	return confmap.Validate(cfg)
}

func clone(values map[string]any) map[string]any {
	made := map[string]any{}
	for key, value := range values {
		if section, ok := value.(map[string]any); ok {
			value = clone(section)
		}
		made[key] = value
	}
	return made
}

// firstLine returns the first line of an error without what the Collector puts before it.
func firstLine(err error) string {
	text := strings.TrimPrefix(err.Error(), "decoding failed due to the following error(s):\n\n")
	line, _, _ := strings.Cut(strings.TrimPrefix(text, "'' "), "\n")
	return line
}

// yaml reads YAML.
func yaml(t *testing.T, text string) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	conf, err := confmaptest.LoadConf(path)
	require.NoError(t, err)
	return conf.ToStringMap()
}

// option is a field of a configuration.
type option struct {
	path []string
	kind reflect.Type
}

func (o option) String() string { return strings.Join(o.path, "::") }

// with returns the configuration in which the option has a value and everything else its default.
func (o option) with(value any) map[string]any {
	for _, key := range slices.Backward(o.path) {
		value = map[string]any{key: value}
	}
	return value.(map[string]any)
}

// options returns what a component's YAML can set. In a map of sections it is that of one called `m`; lists of sections
// are left out.
func options(t reflect.Type, path ...string) (list []option) {
	for f := range t.Fields() {
		name, flags, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		at, kind := append(slices.Clip(path), name), f.Type
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if get, ok := reflect.PointerTo(kind).MethodByName("GetOrInsertDefault"); ok {
			kind = get.Type.Out(0).Elem()
		}
		if kind.Kind() == reflect.Map && kind.Elem().Kind() == reflect.Struct {
			at, kind = append(at, "m"), kind.Elem()
		}
		isWord := reflect.PointerTo(kind).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]())
		switch {
		case strings.Contains(flags, "squash"):
			list = append(list, options(kind, path...)...)
		case name == "" || name == "-":
		case kind.Kind() == reflect.Struct && !isWord:
			list = append(list, options(kind, at...)...)
		default:
			list = append(list, option{at, kind})
		}
	}
	return list
}

func optionsOf(name string) []option {
	return options(reflect.TypeOf(factories[name].CreateDefaultConfig()).Elem())
}

// A number without a unit is no duration, wherever it stands, also in what belongs to the Collector.
func TestDurationsHaveUnits(t *testing.T) {
	found := 0
	for name := range factories {
		for _, o := range optionsOf(name) {
			if o.kind != reflect.TypeFor[time.Duration]() {
				continue
			}
			found++
			for _, n := range []any{1, 15, 3600, 300_000, 3_600_000, int64(2_592_000_000), 0.5, 1.5, 15.0} {
				err := read(name, o.with(n))
				require.Error(t, err, "%s: %v: %v", name, o, n)
				assert.Contains(t, firstLine(err), fmt.Sprintf("`%v` is %v: a number without a unit is nanoseconds: write \"%vs\"", o, n, n), name)
			}
			for text, want := range map[string]string{"15": "15s", "7d": "168h", "5 min": "5m", "2 weeks": "336h", "x": "15s", "": "15s", "250 millis": "250ms"} {
				assert.Contains(t, firstLine(read(name, o.with(text))), fmt.Sprintf("`%v` is %q: must be a number with a unit (ms, s, m, h), such as %q", o, text, want), name)
			}
			assert.Contains(t, firstLine(read(name, o.with(true))), "`"+o.String()+"`", name)
			assert.Contains(t, firstLine(read(name, o.with([]any{1}))), "`"+o.String()+"`", name)
		}
	}
	assert.Greater(t, found, 20, "the test looks at the options")
}

// What Go code sets without a unit is refused by Validate, for all durations in the struct of a configuration.
func TestDurationsFromGo(t *testing.T) {
	for name, factory := range factories {
		cfg := reflect.ValueOf(factory.CreateDefaultConfig()).Elem()
		var set func(v reflect.Value, path ...string)
		set = func(v reflect.Value, path ...string) {
			for f, value := range v.Fields() {
				key, flags, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
				at := slices.Clip(path)
				if !strings.Contains(flags, "squash") {
					at = append(at, key)
				}
				switch {
				case !f.IsExported():
				case f.Type == reflect.TypeFor[time.Duration]():
					old := value.Int()
					value.SetInt(15)
					want := fmt.Sprintf("`%s` is 15ns: must be at least 1ms; a number without a unit is nanoseconds: write \"15s\"", strings.Join(at, "::"))
					assert.ErrorContains(t, confmap.Validate(cfg.Addr().Interface()), want, name)
					value.SetInt(old)
				case f.Type.Kind() == reflect.Struct:
					set(value, at...)
				}
			}
		}
		set(cfg)
	}
}

// Fractions are refused where an integer belongs, and so is what is too large for it.
func TestIntegers(t *testing.T) {
	found := 0
	for name := range factories {
		for _, o := range optionsOf(name) {
			if kind := o.kind.Kind(); kind < reflect.Int || kind > reflect.Uint64 || o.kind == reflect.TypeFor[time.Duration]() {
				continue
			}
			found++
			for _, value := range []any{0.5, 0.9, 1.5, -0.1, 1e300, uint64(1 << 63), true, "many", []any{1}} {
				err := read(name, o.with(value))
				require.Error(t, err, "%s: %v: %v", name, o, value)
				assert.Contains(t, firstLine(err), fmt.Sprintf("`%v` is %v: ", o, value), name)
			}
			assert.Contains(t, firstLine(read(name, o.with("100"))), "`"+o.String()+"` is 100: must be an integer: write 100, without quotes", name)
			if err := read(name, o.with(16.0)); err != nil { // 16.0 and 16 are one number in YAML
				assert.NotContains(t, firstLine(err), "must be an integer", name)
			}
		}
	}
	assert.Greater(t, found, 10, "the test looks at the options")
}

// Each option takes null for its default.
func TestNull(t *testing.T) {
	for name := range factories {
		for _, o := range optionsOf(name) {
			if _, is := needed[name][o.path[0]]; is {
				continue
			}
			for depth := range o.path {
				if depth > 0 && o.path[0] == "tls" && name == "console" {
					break // TLS without a certificate
				}
				path := o.path[:depth+1]
				cfg := factories[name].CreateDefaultConfig()
				require.NoError(t, confmap.NewFromStringMap(option{path: path}.with(nil)).Unmarshal(cfg), "%s: %v", name, path)
				if path[0] != "logs" || depth < 1 {
					assert.Equal(t, factories[name].CreateDefaultConfig(), cfg, "%s: %v", name, path)
				}
				if tally, ok := cfg.(*tallyprocessor.Config); ok && path[0] == "logs" && depth > 0 {
					assert.Contains(t, tally.Logs, "m", "a metric without anything of its own is one")
				}
				assert.NoError(t, read(name, option{path: path}.with(nil)), "%s: %v", name, path)
			}
		}
	}
}

// defaultOf finds variables of the environment with a default.
var defaultOf = regexp.MustCompile(`"?\$\{env:[A-Z_]+:-([^}]*)\}"?`)

// The examples are valid.
func TestExamples(t *testing.T) {
	examples, err := filepath.Glob("../../examples/*.yaml")
	require.NoError(t, err)
	found := 0
	for _, path := range examples {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		config := yaml(t, defaultOf.ReplaceAllString(string(text), `$1`))
		for kind, names := range map[string]map[string]string{
			"processors": {"tally": "processor"}, "connectors": {"tally": "connector"}, "receivers": {"tally": "receiver"},
			"extensions": {"tally_memory": "memory", "tally_redis": "redis", "tally_console": "console"},
		} {
			sections, _ := config[kind].(map[string]any)
			for id, section := range sections {
				component, _, _ := strings.Cut(id, "/")
				if name, ours := names[component]; ours {
					values, _ := section.(map[string]any)
					assert.NoError(t, read(name, values), "%s: %s", path, id)
					found++
				}
			}
		}
	}
	assert.Greater(t, found, 15)
}

// texts is a provider of texts by name.
type texts map[string]string

func (p texts) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(p[strings.TrimPrefix(uri, "texts:")]))
}
func (texts) Scheme() string                 { return "texts" }
func (texts) Shutdown(context.Context) error { return nil }

// A value from the environment is read as YAML reads it, and as it is where text belongs.
func TestEnvironment(t *testing.T) {
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{"texts:all"},
		ProviderFactories: []confmap.ProviderFactory{confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider {
			return texts{
				"all": `a: {hmac_key: "${texts:secret}", queue: {queue_size: "${texts:number}"}, resource_attributes: [],
					logs: {m: {description: "${texts:number}", attributes: [{key: a, hash_function: hmac-sha256}]}}}`,
				"number": "12", "secret": "12345678901234567890123456789012",
			}
		})},
	})
	require.NoError(t, err)
	conf, err := resolver.Resolve(t.Context())
	require.NoError(t, err)
	section, err := conf.Sub("a")
	require.NoError(t, err)
	cfg := factories["processor"].CreateDefaultConfig().(*tallyprocessor.Config)
	require.NoError(t, section.Unmarshal(cfg))
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, 12, cfg.Queue.QueueSize)
	assert.Equal(t, "12", cfg.Logs["m"].Description)
	assert.Len(t, string(cfg.HMACKey), 32)
}
