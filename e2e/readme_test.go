// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownLine is a row of the README's table of log lines: a line, what an attribute's `value` is for such, and what a
// `sum` is.
var ownLine = regexp.MustCompile("(?m)^\\| `(.*?)` \\| `(.*?)` \\| `(.*?)`")

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	return string(text)
}

// The README opens with the commands that set up and test, and is short.
func TestReadmeIsShort(t *testing.T) {
	text := readme(t)
	assert.LessOrEqual(t, strings.Count(text, "\n"), 150)
	assert.Regexp(t, "^# tally\n\n```console\nmake run .*\nmake test ", text)
	isCode := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			isCode = !isCode
		}
		if !isCode && !strings.HasPrefix(line, "|") {
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 120, line)
		}
	}
}

// The README's configuration for log files counts each kind of line that it names, by the expressions beside it.
func TestReadmeCountsLogFiles(t *testing.T) {
	text := readme(t)
	_, config, found := strings.Cut(text, "## Your own log file\n\n```yaml\n")
	require.True(t, found)
	config, _, _ = strings.Cut(config, "```")
	rows := ownLine.FindAllStringSubmatch(text, -1)
	require.Len(t, rows, 3)
	for i, want := range []map[string]float64{
		{`http_requests{processor="tally",status="200"}`: 2, `http_bytes{processor="tally"}`: 2 * 512},
		{`http_requests{processor="tally",status="200"}`: 2, `http_bytes{processor="tally"}`: 2 * 512},
		{`http_requests{processor="tally",status="ERROR"}`: 2, `http_bytes{processor="tally"}`: 2 * 31},
	} {
		line, value, sum := rows[i][1], rows[i][2], rows[i][3]
		t.Run([]string{"JSON", "logfmt", "text"}[i], func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.log")
			require.NoError(t, os.WriteFile(path, []byte(line+"\n"+line+"\n"), 0o600))
			replace := strings.NewReplacer("app.json", path, rows[0][2], value, rows[0][3], sum)
			p := startCollector(t, "", replace.Replace(config)).waitSettled(t, "tally", 2)
			for series, total := range want {
				assert.InDelta(t, total, p[series], 0, "%s of %v", series, p)
			}
		})
	}
}
