package userconfig_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
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

// options returns what a component's YAML can set. In a map of sections it is that of one called `m`; lists of sections are left out.
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
				assert.NoError(t, read(name, option{path: path}.with(nil)), "%s: %v", name, path)
			}
		}
	}
}

// Each key that is misspelt gets the right one as a hint, and hides no other mistake.
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
		{"processor", `on_overflow: block`, "`on_overflow` is unknown: did you mean `queue::on_overflow`?"},
		{"processor", `conditions: ['true']`, "`conditions` is unknown: did you mean `logs::<name>::conditions`?"},
		{"processor", `logs: {m: {default_value: x}}`, "`logs::m::default_value` is unknown: did you mean `logs::<name>::attributes::<n>::default_value`?"},
		{"processor", `logs: {conditions: ['true']}`, "`logs::conditions` is below no name: write `logs::<name>::conditions`"},
		{"processor", `logs: [m]`, "`logs` must be a section with a key for each name, such as `logs::name:`"},
		{"processor", `logs: m`, "`logs` must be a section with a key for each name"},
		{"processor", `logs: {m: [a]}`, "`logs::m` must be a section with the keys `description`, "},
		{"processor", `logs: {m: {attributes: [env]}}`, "`logs::m::attributes::0` is \"env\": must be a section: write `key: env`"},
		{"processor", `logs: {m: {attributes: {key: env}}}`, "`logs::m::attributes` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {attributes: env}}`, "`logs::m::attributes` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {attributes: [{key: a, default: x}]}}`, "`logs::m::attributes::0::default` is unknown: did you mean `default_value`?"},
		{"processor", `logs: {m: {resource_attributes: [a]}}`, "`logs::m::resource_attributes` is unknown: did you mean `resource_attributes` at the top level?"},
		{"processor", `logs: {m: {limit: 1}}`, "`logs::m::limit` is unknown: did you mean `cardinality_limit`?"},
		{"processor", `logs: {m: {conditions: {a: b}}}`, "`logs::m::conditions` must be a list: write `- ` before each item"},
		{"processor", `logs: {m: {conditions: [true]}}`, "`logs::m::conditions::0`: must be text: write it in quotes"},
		{"processor", `logs: {m: {unit: 1}}`, "`logs::m::unit`: must be text: write it in quotes"},
		{"processor", `logs: {m: {value: byte}}`, "`logs::m::value` is \"byte\": did you mean `bytes`?"},
		{"processor", `logs: {m: {attributes: [{key: a, optional: "yes"}]}}`, "`logs::m::attributes::0::optional` is yes: must be `true` or `false`, without quotes"},
		{"processor", `durable: 1`, "`durable` is 1: must be `true` or `false`, without quotes"},
		{"processor", `store: [tally_memory]`, "`store` must be text: write it in quotes"},
		{"processor", `store: "a b"`, "`store` is \"a b\": "},
		{"processor", `error_mode: ignored`, "`error_mode` is \"ignored\": "},
		{"processor", `queue: {on_overflow: drop}`, "`queue::on_overflow` is \"drop\": unknown policy \"drop\": it must be `block`, `reject` or `skip`"},
		{"processor", `queue: 5`, "`queue` must be a section with the keys `num_consumers`, `queue_size`, `on_overflow`"},
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
		{"console", `endpoint: 55690`, "`endpoint`: must be text: write it in quotes"},
	} {
		t.Run(tt.name+" "+tt.yaml, func(t *testing.T) {
			err := read(tt.name, yaml(t, tt.yaml))
			require.Error(t, err)
			assert.Contains(t, firstLine(err), tt.want)
		})
	}
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
  a: {value: byte, attributes: [{keys: x}, {key: b, optional: true, default_value: 1}]}
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
	[]any{}, []any{nil}, []any{"a"}, []any{1}, []any{map[string]any{"key": "a"}}, []any{map[string]any{"keys": "a"}}, []any{[]any{}},
	map[string]any{}, map[string]any{"a": nil}, map[string]any{"a": map[string]any{}}, map[string]any{"key": "a"}, map[string]any{"a": map[string]any{"conditions": "true"}},
}

// newcomer returns a configuration as somebody writes it who has not read the docs: options with odd values, misspelt, at other places.
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

// namesKey says whether a line names a key that was written, or one that the component has, since it may be what is missing. The
// Collector's own validation puts it first; everything else puts it in backquotes.
func namesKey(name string, values map[string]any, line string) bool {
	key, _, _ := strings.Cut(strings.TrimPrefix(line, "server::"), ": ") // the field of the console's struct that is squashed
	if _, rest, found := strings.Cut(line, "`"); found {
		key, _, _ = strings.Cut(rest, "`")
	}
	root, _, _ := strings.Cut(key, "::")
	_, written := values[root]
	return written || slices.ContainsFunc(optionsOf(name), func(o option) bool { return o.path[0] == root })
}
