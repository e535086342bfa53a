// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"pgregory.net/rapid"
)

func all(t require.TestingT) []Component {
	list, err := Components("../../..")
	require.NoError(t, err)
	return list
}

// most is the longest duration that is tried: a year.
const most = int64(365 * 24 * time.Hour)

// neighbors are what an option takes beside it, whatever its own value is.
var neighbors = map[string]map[string]any{
	"tally_redis flush_interval":     {"heartbeat_interval": "9000h", "writer_expiry": "20000h"},
	"tally_redis heartbeat_interval": {"flush_interval": "1ms", "writer_expiry": "20000h"},
	"tally_redis writer_expiry":      {"flush_interval": "1ms", "heartbeat_interval": "1ms"},
	"tally stale_after":              {"collection_interval": "1ms", "flush_interval": "1ms"},
	"tally logs::<name>::attributes::<n>::hash_function": {
		"hmac_key": strings.Repeat("k", 32), "resource_attributes": []any{},
	},
}

// with returns a configuration in which an option has a value, and what else it needs.
func (c Component) with(o Option, value any) map[string]any {
	for _, key := range slices.Backward(o.Path) {
		switch key {
		case "<name>":
			value = map[string]any{"m": value}
		case "<n>":
			section := map[string]any{"key": "a"}
			maps.Copy(section, value.(map[string]any))
			value = []any{section}
		default:
			value = map[string]any{key: value}
		}
	}
	values := maps.Clone(c.Needs)
	if values == nil {
		values = map[string]any{}
	}
	maps.Copy(values, neighbors[c.ID+" "+o.String()])
	maps.Copy(values, value.(map[string]any))
	return values
}

// validate reads and validates a configuration as the Collector does. Options that a component does not have are left
// out.
func (c Component) validate(values map[string]any) error {
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(key string, _ any) bool { return !c.has(key) })
	cfg := c.Factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(values).Unmarshal(cfg); err != nil {
		return err
	}
	return confmap.Validate(cfg)
}

func (c Component) has(key string) bool {
	return slices.ContainsFunc(c.Options, func(o Option) bool { return len(o.Path) > 0 && o.Path[0] == key })
}

// numbers returns the options of a component that are numbers or durations.
func (c Component) numbers() []Option {
	return slices.DeleteFunc(slices.Clone(c.Options), func(o Option) bool { return !o.IsNumber() })
}

// yaml returns a number as the option is written.
func (o Option) yaml(n int64) any {
	if o.Kind == reflect.TypeFor[time.Duration]() {
		return time.Duration(n).String()
	}
	return int(n)
}

// Each number and each duration has a range, and Validate agrees with it, at its edges and anywhere else.
func TestRanges(t *testing.T) {
	found := 0
	for _, c := range all(t) {
		for _, o := range c.numbers() {
			found++
			t.Run(c.Section+" "+c.ID+" "+o.String(), func(t *testing.T) {
				r, err := o.Range()
				require.NoError(t, err)
				r.Most = min(r.Most, most)
				rapid.Check(t, func(rt *rapid.T) {
					n := inside(r).Draw(rt, "inside")
					assert.NoError(rt, c.validate(c.with(o, o.yaml(n))), "%v is valid", o.yaml(n))
					n = outside(r).Draw(rt, "outside")
					err := c.validate(c.with(o, o.yaml(n)))
					assert.ErrorContains(rt, err, "`"+strings.NewReplacer("<name>", "m", "<n>", "0").Replace(o.String())+"`", "%v is not valid", o.yaml(n))
				})
			})
		}
	}
	assert.Greater(t, found, 25)
}

func inside(r Range) *rapid.Generator[int64] {
	edges := []int64{r.Least, r.Least + 1, r.Most}
	if r.Zero {
		edges = append(edges, 0)
	}
	return rapid.OneOf(rapid.SampledFrom(edges), rapid.Int64Range(r.Least, r.Most))
}

func outside(r Range) *rapid.Generator[int64] {
	wrong := []int64{r.Least - 1, -1, math.MinInt64 / 2, r.Most + 1, 0}
	wrong = slices.DeleteFunc(wrong, func(n int64) bool {
		return n >= r.Least && n <= r.Most || n > r.Most && r.Most == most || n == 0 && r.Zero
	})
	return rapid.OneOf(rapid.SampledFrom(wrong), rapid.Int64Range(math.MinInt64/2, -1))
}

// enumPattern is how a line "Valid: ..." begins for an option that takes some words.
var enumPattern = regexp.MustCompile("^`[a-z0-9-]+`(?:(?:,| or) `[a-z0-9-]+`)*(?:$|;)")

// Each option of some words takes those, and no others.
func TestWords(t *testing.T) {
	found := 0
	for _, c := range all(t) {
		for _, o := range c.Options {
			words := enumPattern.FindString(o.Valid)
			if words == "" || o.Kind.Kind() != reflect.String {
				continue
			}
			found++
			valid := strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune("`,; ", r) })
			valid = slices.DeleteFunc(valid, func(word string) bool { return word == "or" })
			for _, word := range valid {
				assert.NoError(t, c.validate(c.with(o, word)), "%s: %s", o, word)
			}
			rapid.Check(t, func(rt *rapid.T) {
				word := rapid.StringMatching(`[a-z]{1,8}`).Filter(func(w string) bool { return !slices.Contains(valid, w) }).Draw(rt, "word")
				assert.Error(rt, c.validate(c.with(o, word)), "%s: %s", o, word)
			})
		}
	}
	assert.Equal(t, 5, found)
}

// The options that are said to be required are those without which a configuration is invalid.
func TestRequired(t *testing.T) {
	for _, c := range all(t) {
		assert.NoError(t, c.validate(c.Needs), c.Title())
		for _, o := range c.Options {
			if len(o.Path) != 1 {
				continue
			}
			_, needed := c.Needs[o.Path[0]]
			assert.Equal(t, needed, o.Default == "required", "%s: %s", c.Title(), o)
			if needed {
				assert.ErrorContains(t, c.validate(nil), "`"+o.String()+"`")
			}
		}
	}
}

// Each option has a text that begins as a sentence does, and no name of Go in it.
func TestTexts(t *testing.T) {
	word := regexp.MustCompile(`\b[A-Z][a-z]+[A-Z][A-Za-z]*\b`)
	for _, c := range all(t) {
		for _, o := range c.Options {
			assert.Regexp(t, "^(?:[A-Z][^.]+|`.*|\\[.*)\\.", o.Text+" ", "%s: %s", c.Title(), o)
			for _, name := range word.FindAllString(regexp.MustCompile("`[^`]*`").ReplaceAllString(o.Text+" "+o.Valid, ""), -1) {
				assert.Contains(t, []string{"OpenMetrics"}, name, "%s: %s", c.Title(), o)
			}
		}
	}
}

func TestComments(t *testing.T) {
	c := readComment("Limit", "Limit is the most\nof it.\n\nDefault: `7`.\n\nValid: 1 to\n9; more.\n")
	assert.Equal(t, comment{text: "The most of it.", valid: "1 to 9; more", fallback: "`7`"}, c)
	assert.Equal(t, "Adds one.", readComment("Adder", "Adder adds one.").text)
}

func TestRangeText(t *testing.T) {
	for text, want := range map[string]Range{
		"0 or more":                     {Least: 0, Most: math.MaxInt64},
		"1 to 10,000; more":             {Least: 1, Most: 10_000},
		"0, or 1ms or more, and others": {Zero: true, Least: 1_000_000, Most: math.MaxInt64},
	} {
		kind := reflect.TypeFor[int]()
		if strings.Contains(text, "ms") {
			kind = reflect.TypeFor[time.Duration]()
		}
		got, err := Option{Kind: kind, Valid: text}.Range()
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "positive", "1", "or more", "1 to", "1 or moreover"} {
		_, err := Option{Kind: reflect.TypeFor[int](), Valid: text}.Range()
		assert.Error(t, err, text)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", time.Minute: "1m", 24 * time.Hour: "24h", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m",
	} {
		assert.Equal(t, want, short(d), fmt.Sprint(d))
	}
}
