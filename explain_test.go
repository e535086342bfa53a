// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

const secret = "log content"

// logged starts a processor whose log can be looked at.
func logged(t *testing.T, level zapcore.Level, yaml string) (processor.Logs, *observer.ObservedLogs) {
	t.Helper()
	core, lines := observer.New(level)
	set := processortest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	p, err := NewFactory(WithMetricStore(NewMemoryStore())).CreateLogs(t.Context(), set, testConfig(t, yaml), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { _ = p.Shutdown(t.Context()) })
	return p, lines
}

// send sends a batch of two records with log content in them and waits until it is counted.
func send(t *testing.T, p processor.Logs, edit func(i int, r plog.LogRecord)) {
	t.Helper()
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(2, func(i int, r plog.LogRecord) {
		r.Attributes().PutStr("text", secret+fmt.Sprint(i))
		if edit != nil {
			edit(i, r)
		}
	})))
	synctest.Wait()
}

// withField returns the lines that have a field of that text.
func withField(lines *observer.ObservedLogs, name, text string) int {
	n := 0
	for _, line := range lines.All() {
		if fmt.Sprint(line.ContextMap()[name]) == text {
			n++
		}
	}
	return n
}

// A line names metric, reason and option, comes once a minute however many records there are, and quotes none of them.
func TestLinesAboutRecordsNotCounted(t *testing.T) {
	for reason, tt := range map[string]struct{ metric, change string }{
		"missing_attribute": {`{attributes: [{key: absent}]}`, "`default_value`"},
		"condition_error":   {`{conditions: ['Substring(attributes["text"], 0, 99) == "x"']}`, "`conditions`"},
		"value_error":       {`{sum: 'attributes["text"]'}`, "`value`"},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, lines := logged(t, zap.InfoLevel, `logs: {m: `+tt.metric+`}`)
				for range 10 {
					send(t, p, nil)
				}
				require.Equal(t, 1, withField(lines, "reason", reason))
				time.Sleep(time.Minute)
				send(t, p, nil)
				assert.Equal(t, 2, withField(lines, "reason", reason))
				for _, line := range lines.All() {
					assert.NotContains(t, fmt.Sprint(line.Message, line.ContextMap()), secret)
				}
				line := lines.FilterFieldKey("reason").All()[0].ContextMap()
				assert.Equal(t, "m", line["metric"])
				assert.EqualValues(t, 2, line["records"])
				assert.Contains(t, line["change"], tt.change)
			})
		})
	}
}

// The line says which attributes were missing and which expressions failed: what the configuration calls them.
func TestLinesNameAttributesAndOptions(t *testing.T) {
	for _, tt := range []struct {
		metric, reason, field string
		want                  []any
	}{
		// b is not reached
		{`{attributes: [{key: text}, {key: b}, {key: a}]}`, "missing_attribute", "attributes", []any{"a"}},
		{`{attributes: [{key: text}, {key: sometimes}, {key: z}]}`, "missing_attribute", "attributes", []any{"sometimes", "z"}},
		{`{attributes: [{key: b, optional: true}, {key: c, default_value: 1}, {key: d}]}`, "missing_attribute", "attributes", []any{"d"}},
		{`{attributes: [{key: "t*"}, {key: d}]}`, "missing_attribute", "attributes", []any{"d"}},
		{`{attributes: [{key: part, value: 'attributes["map"]["k"]'}]}`, "missing_attribute", "attributes", []any{"part"}},
		{`{attributes: [{key: text}, {key: b, value: 'ParseJSON(body)["k"]'}]}`, "value_error", "options", []any{"logs::m::attributes::1::value"}},
		{`{attributes: [{key: z}, {key: a, value: 'ParseJSON("{}")["k"]'}]}`, "value_error", "options", []any{"logs::m::attributes::1::value"}},
		{`{sum: 'attributes["text"]'}`, "value_error", "options", []any{"logs::m::sum"}},
		{`{sum: 'attributes["large"]'}`, "value_error", "options", []any{"logs::m::sum"}},
		{`{sum: 'attributes["large"]', attributes: [{key: text, value: '"x"'}]}`, "value_error", "options", []any{"logs::m::sum"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, lines := logged(t, zap.InfoLevel, `logs: {m: `+tt.metric+`}`)
			send(t, p, func(i int, r plog.LogRecord) {
				r.Attributes().PutInt("large", math.MaxInt64)
				if i == 0 {
					r.Attributes().PutStr("sometimes", secret)
				}
			})
			line := lines.FilterField(zap.String("reason", tt.reason)).All()
			require.Len(t, line, 1, tt.metric)
			assert.Equal(t, tt.want, line[0].ContextMap()[tt.field], tt.metric)
			assert.NotContains(t, fmt.Sprint(line[0].ContextMap()), secret)
		})
	}
}

func TestSilentErrorsLogNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := logged(t, zap.DebugLevel, `{error_mode: silent, logs: {m: {sum: 'attributes["text"]'}}}`)
		send(t, p, nil)
		assert.Zero(t, withField(lines, "reason", "value_error"))
		assert.Empty(t, lines.FilterMessageSnippet("failed").All())
	})
}

// An attribute that no record has had for a minute of traffic is worth one warning, with a default or without; one that
// came late, or that no record was looked at for, is not.
func TestWarnsOfAnAttributeThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := logged(t, zap.WarnLevel, `
logs:
  typo: {attributes: [{key: servce}]}
  typo.behind: {attributes: [{key: atext, default_value: 1}, {key: textt, default_value: none}, {key: text}, {key: late, optional: true}]}
  never.looked.at: {conditions: ['false'], attributes: [{key: servce}]}
  there: {attributes: [{key: text}]}`)
		send(t, p, nil)
		time.Sleep(time.Minute - time.Second)
		send(t, p, func(_ int, r plog.LogRecord) { r.Attributes().PutStr("late", "x") })
		warned := func() (names []string) {
			for _, line := range lines.FilterFieldKey("attribute").All() {
				names = append(names, fmt.Sprint(line.ContextMap()["metric"], ":", line.ContextMap()["attribute"]))
			}
			return names
		}
		assert.Empty(t, warned(), "not before the minute is over")
		time.Sleep(time.Second)
		for range 3 {
			send(t, p, nil)
			time.Sleep(time.Minute)
		}
		assert.ElementsMatch(t, []string{"typo:servce", "typo.behind:atext", "typo.behind:textt"}, warned())
	})
}

// The same of an attribute of the resource: totals that it was to tell apart are one.
func TestWarnsOfAResourceAttributeThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lines := logged(t, zap.WarnLevel, `resource_attributes: [service_name, service.name, 'host.*']`)
		for range 4 {
			send(t, p, nil)
			time.Sleep(time.Minute)
		}
		warned := lines.FilterFieldKey("attribute").All()
		require.Len(t, warned, 1)
		assert.Equal(t, "service_name", warned[0].ContextMap()["attribute"])
	})
}

// The line about a full limit names keys only where the configuration allows it.
func TestLinesAboutAFullLimit(t *testing.T) {
	for allowed, want := range map[bool]bool{false: false, true: true} {
		synctest.Test(t, func(t *testing.T) {
			p, lines := logged(t, zap.WarnLevel,
				fmt.Sprintf(`{log_overflowed_keys: %v, logs: {m: {cardinality_limit: 1, attributes: [{key: text}]}}}`, allowed))
			send(t, p, nil)
			send(t, p, nil)
			list := lines.FilterMessageSnippet("limit is reached").All()
			require.Len(t, list, 1)
			assert.Equal(t, "m", list[0].ContextMap()["metric"])
			assert.Equal(t, want, strings.Contains(fmt.Sprint(list[0].ContextMap()), secret))
		})
	}
}
