// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/tools/docs/options"
)

// ours validates the components of tally as the built Collector does, without one.
type ours []options.Component

func (c ours) kinds() kinds {
	k := kinds{"receivers": {"otlp": true}, "exporters": {"nop": true}}
	for _, component := range c {
		if k[component.Section] == nil {
			k[component.Section] = map[string]bool{}
		}
		k[component.Section][component.ID] = true
	}
	return k
}

func (c ours) validate(config map[string]any) error {
	for _, component := range c {
		for id, body := range asMap(config[component.Section]) {
			if name, _, _ := strings.Cut(id, "/"); name != component.ID {
				continue
			}
			cfg := component.Factory.CreateDefaultConfig()
			if err := confmap.NewFromStringMap(asMap(body)).Unmarshal(cfg); err != nil {
				return err
			}
			if err := confmap.Validate(cfg); err != nil {
				return err
			}
		}
	}
	return nil
}

// project is the site of the project itself.
func project(t *testing.T) *site {
	t.Helper()
	s, err := newSite("../../..")
	require.NoError(t, err)
	return s
}

// problemsOf returns what is wrong in a page.
func (s *site) problemsOf(path, text string) []string {
	s.problems = nil
	s.checkPage(parsePage(path, text), ours(s.components))
	var list []string
	for _, p := range s.problems {
		list = append(list, p.String())
	}
	return list
}

func fenced(language, text string) string {
	return "# Title\n\n```" + language + "\n" + strings.TrimSuffix(text, "\n") + "\n```\n"
}

// valueOf returns a valid value of an option.
func valueOf(t *testing.T, o options.Option) any {
	t.Helper()
	if o.IsNumber() {
		r, err := o.Range()
		require.NoError(t, err)
		if o.Type == "duration" {
			return cmp.Or(map[string]string{"stale_after": "1m", "writer_expiry": "24h", "forget_after": "24h"}[o.String()], "5s")
		}
		return int(r.Least)
	}
	switch {
	case o.Path[len(o.Path)-1] == "endpoint":
		return "localhost:1"
	case strings.HasPrefix(o.Default, "`") && o.Type == "string":
		return strings.Trim(o.Default, "`")
	case o.Path[len(o.Path)-1] == "sum":
		return "bytes"
	case o.Type == "component ID":
		return "tally_memory"
	case o.Type == "boolean":
		return false
	case o.Kind.Kind() == reflect.Slice, o.Type == "any", o.Type == "section", o.Elsewhere != "":
		return nil
	case strings.HasSuffix(o.String(), "key"):
		return "a"
	}
	return ""
}

// Each option is found out to be what it is, from each of its sections on, and as part of a component and of a
// configuration; misspelled it is none.
func TestEveryPartIsFoundOut(t *testing.T) {
	s, found := project(t), 0
	for _, c := range s.components {
		for _, o := range c.Options {
			if len(o.Path) == 0 || o.Elsewhere != "" || o.String() == "hmac_key" { // which takes other options
				continue
			}
			path := append([]string{c.Section, c.ID}, o.Path...)
			for start := range path {
				text, isPart := yamlOf(t, path[start:], valueOf(t, o))
				if !isPart {
					continue
				}
				found++
				assert.Empty(t, s.problemsOf("docs/x.md", fenced("yaml", text)), "%v:\n%s", o, text)
				wrong := strings.Replace(text, path[len(path)-1]+":", path[len(path)-1]+"x:", 1)
				assert.Len(t, s.problemsOf("docs/x.md", fenced("yaml", wrong)), 1, "%v:\n%s", o, wrong)
			}
		}
	}
	assert.Greater(t, found, 200)
}

// yamlOf returns the YAML in which a path has a value, if that can begin a block.
func yamlOf(t *testing.T, path []string, value any) (string, bool) {
	t.Helper()
	if path[0] == "<name>" {
		return "", false
	}
	for i, key := range slices.Backward(path) {
		switch key {
		case "<name>":
			value = map[string]any{"name": value}
		case "<n>":
			item := asMap(value)
			if item["key"] == nil {
				item["key"] = "a"
			}
			value = []any{item}
		default:
			if i < len(path)-1 && value == nil {
				return "", false
			}
			value = map[string]any{key: value}
		}
	}
	text, err := yaml.Marshal(value)
	require.NoError(t, err)
	return string(text), true
}

// Blocks of others and marked ones are what they say.
func TestMarks(t *testing.T) {
	s := project(t)
	for text, want := range map[string]int{
		fenced("yaml", "scrape_configs: []"):                         0,
		fenced("yaml", "apiVersion: v1\nkind: Secret"):               0,
		fenced("yaml", "processors:\n  - gomod: a v1"):               0,
		fenced("yaml", "nobody: knows"):                              1,
		fenced("yaml", "a: b: c"):                                    1,
		fenced("yaml", "processors: {tally: {queue: 5}}"):            1,
		fenced("yaml", "service: {extensions: [tally_nothing]}"):     1,
		fenced("", "a: b: c"):                                        0,
		"<!-- part: none -->\n```yaml\nnobody: knows\n```\n":         0,
		"<!-- part: processors::tally -->\n```yaml\nqueue: 5\n```\n": 1,
		"<!-- part: extensions::tally_memory -->\n```yaml\n{}\n```":  0,
	} {
		assert.Len(t, s.problemsOf("docs/x.md", text), want, text)
	}
}

// A link to any heading is right, with the name that the heading gets, and wrong with any other.
func TestLinksToHeadings(t *testing.T) {
	s := project(t)
	rapid.Check(t, func(rt *rapid.T) {
		titles := rapid.SliceOfNDistinct(rapid.StringMatching("[A-Z`][a-zé0-9`_:?, -]{1,20}[a-z]"), 1, 4, slug).Draw(rt, "titles")
		page := "# Page\n"
		for _, title := range titles {
			page += "\n## " + title + "\n\n```\n## not " + title + "\n```\n"
		}
		to := rapid.SampledFrom(titles).Draw(rt, "to")
		assert.Empty(rt, s.problemsOf("docs/x.md", page+"\n[link](#"+slug(to)+")\n"))
		line := strings.Count(page, "\n") + 2
		for _, wrong := range []string{"not-" + slug(to), slug(to) + "x"} {
			if !slices.ContainsFunc(titles, func(title string) bool { return slug(title) == wrong }) {
				want := fmt.Sprintf("docs/x.md:%d: link %q: docs/x.md has no heading #%s", line, "#"+wrong, wrong)
				assert.Equal(rt, []string{want}, s.problemsOf("docs/x.md", page+"\n[link](#"+wrong+")\n"))
			}
		}
	})
}

func TestSlug(t *testing.T) {
	for text, want := range map[string]string{
		"Beside `count` and `signal_to_metrics`": "beside-count-and-signal_to_metrics", "What's new?": "whats-new", "A — b": "a--b",
		"[Link](x.md) there": "link-there", "Extension `tally_redis`": "extension-tally_redis",
	} {
		assert.Equal(t, want, slug(text))
	}
}

// Each kind of link is seen, wherever it is, with its line.
func TestLinks(t *testing.T) {
	s := project(t)
	for text, want := range map[string]int{
		"a [b](../README.md) c":                       0,
		"a [b\nc](none.md)":                           1,
		"a [`b]`](none.md) and ![i](none.png)":        2,
		"`[b](none.md)`":                              0,
		"[b](../../x.md)":                             1,
		"[b](https://localhost/none)":                 0,
		"[b]: none.md":                                1,
		`<img src="none.png">`:                        1,
		"[b](../README.md#no-such-heading-of-any)":    1,
		"# A\n\n# A\n\n[b](#a-1), [c](#a), [d](#a-2)": 1,
	} {
		assert.Len(t, s.problemsOf("docs/x.md", text), want, text)
	}
}

// Targets, files and tests are those that exist, in blocks and in code spans.
func TestCommands(t *testing.T) {
	s := project(t)
	for _, target := range slices.Sorted(maps.Keys(s.targets)) {
		if strings.Contains(target, "/") {
			continue
		}
		assert.Empty(t, s.problemsOf("docs/x.md", fenced("sh", "FUZZTIME=1s make "+target)+"`make "+target+"`\n"))
		problems := s.problemsOf("docs/x.md", fenced("sh", "cd x\nmake "+target+"zzz  # text")+"`make "+target+"zzz`\n")
		require.Len(t, problems, 2, target)
		assert.Contains(t, problems[0], "docs/x.md:5: ")
	}
	for command, want := range map[string]int{
		"go test -run 'TestFleet$' .":                  0,
		"go test -run TestNobodyHasThis .":             1,
		"go test -run '^$' -bench NothingIsLikeThis x": 1,
		"scripts/generate.sh":                          0,
		"scripts/none.sh":                              1,
		"if true; then":                                1,
		"echo make nothing":                            0,
		"x --config examples/none.yaml":                1,
		"x --config=examples/fleet.yaml":               0,
	} {
		assert.Len(t, s.problemsOf("docs/x.md", fenced("sh", command)), want, command)
	}
}

// Each option may be named, from any of its sections on; a misspelled one is reported.
func TestNames(t *testing.T) {
	s := project(t)
	for _, c := range s.components {
		for _, o := range c.Options {
			for start := range len(o.Path) - 1 {
				name := strings.NewReplacer("<name>", "NAME", "<n>", "0").Replace(strings.Join(o.Path[start:], "::"))
				if start > 0 && strings.HasPrefix(o.Path[start], "<") {
					continue
				}
				assert.Empty(t, s.problemsOf("docs/x.md", "`"+name+"`"))
				assert.Len(t, s.problemsOf("docs/x.md", "`"+name+"x`"), 1, name)
			}
		}
	}
	assert.Empty(t, s.problemsOf("docs/x.md", "`queue::on_full: skip`, `tls::insecure`, `otelcol_processor_tally_keys`, `keys_forgotten`"))
	assert.Len(t, s.problemsOf("docs/x.md", "`otelcol_processor_tally_"+"quays`, `keys_"+"forgoten`"), 2)
	assert.Len(t, s.problemsOf("docs/x.md", "| option | x |\n|---|---|\n| `store`, `stohre` | `none` |\n"), 1)
	assert.Empty(t, s.problemsOf("docs/x.md", "`TestNames`, `internal/none.TestNames`, `TestFault_`"))
	assert.Len(t, s.problemsOf("docs/x.md", "`TestNamesOfNobody`"), 1)
	assert.Empty(t, s.problemsOf("CHANGELOG.md", "`queue::on_overflow`"))
}

// A page of 400 lines is not too long.
func TestLength(t *testing.T) {
	s := project(t)
	assert.Empty(t, s.problemsOf("docs/x.md", strings.Repeat("\n", 400)))
	assert.Equal(t, []string{"docs/x.md:401: the page has 401 lines, 400 are the most"}, s.problemsOf("docs/x.md", strings.Repeat("\n", 401)))
}

// The built Collector, where there is one, takes what is valid and refuses what is not.
func TestCollector(t *testing.T) {
	path, err := filepath.Abs("../../../dist/otelcol-tally")
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skip("`make build` builds it")
	}
	c, err := newCollector(path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.close()) }()
	s := project(t)
	for id, body := range map[string]string{"processors: {tally: ": "{}", "extensions: {tally_redis: ": "{shards: 3}", "connectors: {tally: ": ""} {
		for suffix, want := range map[string]int{body + "}": 0, "{nothing: 1}}": 1} {
			s.problems = nil
			s.checkPage(parsePage("docs/x.md", fenced("yaml", id+suffix)), c)
			assert.Len(t, s.problems, want, id+suffix)
		}
	}
}
