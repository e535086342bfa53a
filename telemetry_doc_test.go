// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

const telemetryPage = "docs/telemetry.md"

// ownMetadata are the files that say which metrics the components have.
var ownMetadata = []string{"metadata.yaml", "memorystore/metadata.yaml", "redisstore/metadata.yaml", "tallyconsole/metadata.yaml"}

// telemetryMetadata is what a metadata.yaml says of metrics and of the values of their labels.
type telemetryMetadata struct {
	Attributes map[string]struct {
		Enum []string `mapstructure:"enum"`
	} `mapstructure:"attributes"`
	Telemetry struct {
		Metrics map[string]struct {
			Attributes []string       `mapstructure:"attributes"`
			Histogram  map[string]any `mapstructure:"histogram"`
		} `mapstructure:"metrics"`
	} `mapstructure:"telemetry"`
}

func readMetadata(t *testing.T, path string) (m telemetryMetadata) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	retrieved, err := confmap.NewRetrievedFromYAML(text)
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	require.NoError(t, conf.Unmarshal(&m, confmap.WithIgnoreUnused()))
	return m
}

var (
	pagePrefix = regexp.MustCompile("Names begin with `([a-z_]+_)`")
	pageRow    = regexp.MustCompile("^\\| `([a-z_]+)` \\|([^|]*)\\|")
	quoted     = regexp.MustCompile("`([a-z_]+)`")
)

// documented returns what the page lists: the labels of each metric by name, and the rows of other tables by heading.
func documented(t *testing.T) (metrics, others map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(telemetryPage)
	require.NoError(t, err)
	metrics, others = map[string][]string{}, map[string][]string{}
	prefix, heading := "", ""
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			prefix, heading = "", strings.ToLower(strings.Trim(line, "# \n"))
		}
		if m := pagePrefix.FindStringSubmatch(line); m != nil {
			prefix = m[1]
		}
		row := pageRow.FindStringSubmatch(line)
		switch {
		case row == nil:
		case prefix == "":
			others[heading] = append(others[heading], row[1])
		default:
			labels := []string{}
			for _, m := range quoted.FindAllStringSubmatch(row[2], -1) {
				labels = append(labels, m[1])
			}
			require.NotContains(t, metrics, prefix+row[1], "is there twice")
			metrics[prefix+row[1]] = labels
		}
	}
	return metrics, others
}

// The page has each metric that there is, with its labels, and no other; and each value of the labels that have a list
// of them.
func TestTelemetryPage(t *testing.T) {
	metrics, others := documented(t)
	want := map[string][]string{}
	for _, path := range ownMetadata {
		for name, m := range readMetadata(t, path).Telemetry.Metrics {
			labels := slices.DeleteFunc(slices.Clone(m.Attributes), func(a string) bool { return a == "processor" || a == "extension" })
			slices.Sort(labels)
			want["otelcol_"+name] = append([]string{}, labels...)
		}
	}
	assert.Equal(t, want, metrics)
	assert.ElementsMatch(t, readMetadata(t, "metadata.yaml").Attributes["reason"].Enum, others["reasons"])
	redis := readMetadata(t, "redisstore/metadata.yaml").Attributes
	assert.ElementsMatch(t, redis["class"].Enum, others["classes"])
	assert.ElementsMatch(t, redis["event"].Enum, others["events"])
}

// Each own metric that a page names exists; a histogram has its suffixes.
func TestPagesNameMetricsThatExist(t *testing.T) {
	names := map[string]bool{}
	for _, path := range ownMetadata {
		for name, m := range readMetadata(t, path).Telemetry.Metrics {
			names["otelcol_"+name] = true
			if m.Histogram != nil {
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					names["otelcol_"+name+suffix] = true
				}
			}
		}
	}
	own := regexp.MustCompile(`otelcol_(?:processor|extension)_tally_[a-z_]*`)
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	readmes, err := filepath.Glob("*/README.md")
	require.NoError(t, err)
	for _, path := range slices.Concat(pages, readmes, []string{"README.md"}) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range own.FindAllString(string(text), -1) {
			isPrefix := strings.HasSuffix(name, "_")
			assert.True(t, names[name] || isPrefix, "%s names %s; there are %v", path, name, slices.Sorted(maps.Keys(names)))
		}
	}
}
