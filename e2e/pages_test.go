// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// chapter is what is below one heading of the second level in a document. Its blocks of code, by language, are its
// fixtures:
//
//   - yaml: the configuration of a Collector, in pieces that are merged with the frame of the recipes;
//   - json, text: lines of a log file, which take the place of /var/log/app/*.log;
//   - sh: commands, run while the Collector does;
//   - prometheus: all series of the metrics in it.
//
// A second word after the language sets a block apart: `yaml before`.
type chapter struct {
	title  string
	blocks map[string][]string
}

// chapters returns the chapters of a document; the first one is what stands before any heading.
func chapters(t *testing.T, path string) []chapter {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	list := []chapter{{blocks: map[string][]string{}}}
	language, block := "", ""
	for line := range strings.Lines(string(text)) {
		last := &list[len(list)-1]
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && language == "":
			language, block = strings.TrimSpace(fence), ""
			require.NotEmpty(t, language, "%s: a block of code without a language below %q", path, last.title)
		case isFence:
			last.blocks[language] = append(last.blocks[language], block)
			language = ""
		case language != "":
			block += line
		case strings.HasPrefix(line, "## "):
			list = append(list, chapter{title: strings.TrimSpace(line[3:]), blocks: map[string][]string{}})
		}
	}
	require.Empty(t, language, "%s: a block of code does not end", path)
	return list
}

// chapterOf returns the chapter of that title.
func chapterOf(t *testing.T, path, title string) chapter {
	t.Helper()
	for _, c := range chapters(t, path) {
		if c.title == title {
			return c
		}
	}
	require.Fail(t, "no such chapter", "%s: %s", path, title)
	return chapter{}
}

// logFiles are the files of an application, in the documents.
const logFiles = "/var/log/app/*.log"

// place gives what a document names a place in this test: ports, the log file and the folder of the state. The same
// name stays the same.
type place struct {
	logs, state string
	ports       map[string]string
}

func newPlace(t *testing.T) *place {
	return &place{logs: filepath.Join(t.TempDir(), "app.log"), state: t.TempDir(), ports: map[string]string{}}
}

func (p *place) of(t *testing.T, text string) string {
	t.Helper()
	text = strings.NewReplacer(logFiles, p.logs, "/var/lib/otelcol/tally", p.state).Replace(text)
	return localPort.ReplaceAllStringFunc(text, func(address string) string {
		if p.ports[address] == "" {
			p.ports[address] = fmt.Sprintf("localhost:%d", freePort(t))
		}
		return p.ports[address]
	})
}

// all is place.of for each of several texts.
func (p *place) all(t *testing.T, texts []string) []string {
	t.Helper()
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = p.of(t, text)
	}
	return list
}

// write puts the lines of a chapter into the log file.
func (p *place) write(t *testing.T, c chapter) {
	t.Helper()
	lines := strings.Join(append(c.blocks["json"], c.blocks["text"]...), "")
	require.NoError(t, os.WriteFile(p.logs, []byte(lines), 0o600))
}

// parsePage reads a page of metrics.
func parsePage(t *testing.T, body []byte) page {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	require.NoError(t, err, "%s", body)
	p := page{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			if m.GetHistogram() != nil {
				continue
			}
			p[seriesOf(name, m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return p
}

// metricOf matches the name of the metric of a series.
var metricOf = regexp.MustCompile(`^[^{]+`)

// like returns the series of the metrics that are in another page.
func (p page) like(other page) page {
	found := page{}
	for s := range other {
		for own, value := range p.of(metricOf.FindString(s)) {
			found[own] = value
		}
	}
	return found
}
