// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/logtally/tallyprocessor/tallyconnector"
)

// TestDropIn: what the count connector starts with, tally starts with, and counts as many under the same names and
// attributes, whatever is in the logs.
func TestDropIn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	require.GreaterOrEqual(t, len(countConfigs), 60)
	for name, yaml := range countConfigs {
		t.Run(name, func(t *testing.T) {
			batches := strangeLogs(rand.New(rand.NewPCG(seed, 0)))
			want := countedBy(t, countconnector.NewFactory(), yaml, batches)
			assert.Equal(t, want, countedBy(t, tallyconnector.NewFactory(), yaml, batches))
		})
	}
}

// countedBy returns the totals that a connector sends for batches of logs, by series.
func countedBy(t *testing.T, factory connector.Factory, yaml string, batches []plog.Logs) map[string]int64 {
	t.Helper()
	sink := new(consumertest.MetricsSink)
	c := newConnector(t, factory, yaml, sink)
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	for _, ld := range batches {
		require.NoError(t, c.ConsumeLogs(t.Context(), ld))
	}
	require.NoError(t, c.Shutdown(t.Context()))
	return totalsIn(sink)
}

// newConnector makes a connector of a configuration as a user writes it; tally shall send deltas, as count does.
func newConnector(t *testing.T, factory connector.Factory, yaml string, sink *consumertest.MetricsSink) connector.Logs {
	t.Helper()
	cfg := configure[component.Config](t, factory, yaml)
	if tally, ok := cfg.(*tallyconnector.Config); ok {
		tally.Temporality = "delta"
	}
	require.NoError(t, confmap.Validate(cfg))
	c, err := factory.CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(factory.Type()), cfg, sink)
	require.NoError(t, err)
	return c
}

// totalsIn adds up deltas by name, description, resource and attributes.
func totalsIn(sink *consumertest.MetricsSink) map[string]int64 {
	totals := map[string]int64{}
	for _, metrics := range sink.AllMetrics() {
		eachPoint(metrics, func(resource pcommon.Map, m pmetric.Metric, p pmetric.NumberDataPoint) {
			if p.IntValue() > 0 {
				totals[fmt.Sprintf("%q %q %v %v", m.Name(), m.Description(), asCounted(resource), asCounted(p.Attributes()))] += p.IntValue()
			}
		})
	}
	return totals
}

func eachPoint(metrics pmetric.Metrics, yield func(resource pcommon.Map, m pmetric.Metric, p pmetric.NumberDataPoint)) {
	for _, rm := range metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				for _, p := range m.Sum().DataPoints().All() {
					yield(rm.Resource().Attributes(), m, p)
				}
			}
		}
	}
}

// asCounted returns attributes as a backend holds them that knows texts only, and no empty ones: tally sends values
// that are the same there as one series.
func asCounted(attributes pcommon.Map) map[string]string {
	made := map[string]string{}
	for name, value := range attributes.All() {
		if text := strings.Replace(value.AsString(), "Infinity", "Inf", 1); text != "" {
			made[name] = text
		}
	}
	return made
}

// strangeLogs returns batches with all kinds of values, in records, scopes and resources.
func strangeLogs(random *rand.Rand) []plog.Logs {
	var batches []plog.Logs
	for range 1 + random.IntN(5) {
		ld := plog.NewLogs()
		for range random.IntN(4) {
			rl := ld.ResourceLogs().AppendEmpty()
			some(random, rl.Resource().Attributes(), "service.name", "k8s.pod.name", "shared")
			for s := range random.IntN(3) {
				sl := rl.ScopeLogs().AppendEmpty()
				sl.Scope().SetName(fmt.Sprint("s", s))
				some(random, sl.Scope().Attributes(), "tenant", "shared")
				for r := range random.IntN(100) {
					strangeRecord(random, r, sl.LogRecords().AppendEmpty())
				}
			}
		}
		ld.MarkReadOnly()
		batches = append(batches, ld)
	}
	return batches
}

func strangeRecord(random *rand.Rand, n int, r plog.LogRecord) {
	r.SetSeverityNumber(plog.SeverityNumber(random.IntN(25)))
	r.SetSeverityText([]string{"", "INFO", "WARN"}[random.IntN(3)])
	r.SetTimestamp(pcommon.NewTimestampFromTime(time.Unix(int64(random.IntN(2_000_000_000)), 0)))
	r.SetTraceID(pcommon.TraceID{byte(random.IntN(3))})
	r.SetSpanID(pcommon.SpanID{byte(random.IntN(3))})
	r.Body().SetStr(fmt.Sprint("record ", n))
	a := r.Attributes()
	a.PutStr("method", []string{"GET", "PUT", "POST"}[random.IntN(3)])
	a.PutInt("status", int64(200+100*random.IntN(4)))
	a.PutDouble("seconds", float64(random.IntN(8))/2)
	a.PutBool("ok", random.IntN(2) == 0)
	some(random, a, "env", "shared", "a b", "x*", "xy", "日本", "severity_text")
	if random.IntN(2) == 0 {
		_ = a.PutEmpty("any").FromRaw([]any{"", nil, "1", int64(1), 1.0, true, []byte{1}, []any{"i", int64(1)}, map[string]any{"b": "c", "a": 1.5}}[random.IntN(9)])
	}
	if random.IntN(2) == 0 {
		a.PutEmptyMap("map").PutStr("k", []string{"v", "w"}[random.IntN(2)])
		a.PutEmptySlice("list").AppendEmpty().SetStr([]string{"i", "j"}[random.IntN(2)])
	}
}

// some puts some of the attributes.
func some(random *rand.Rand, attributes pcommon.Map, names ...string) {
	for _, name := range names {
		if random.IntN(3) > 0 {
			attributes.PutStr(name, []string{"shop", "none", "prod", "t1"}[random.IntN(4)])
		}
	}
}

// differences are what remains, as the connector's README has it.
var differences = []struct {
	name, yaml  string
	logs        func() plog.Logs
	count, want map[string]int64 // by count and by tally
}{
	{
		"an attribute listed twice", `logs: {m: {attributes: [{key: a}, {key: a}]}}`,
		func() plog.Logs { return twoRecords("x", "x") },
		map[string]int64{},
		map[string]int64{`"m" "" map[] map[a:x]`: 2},
	},
	{
		"a long value", `logs: {m: {attributes: [{key: a}]}}`,
		func() plog.Logs { return twoRecords(fmt.Sprintf("%0256d", 7)+"b", fmt.Sprintf("%0256d", 7)+"c") },
		map[string]int64{
			fmt.Sprintf(`"m" "" map[] map[a:%0256db]`, 7): 1, fmt.Sprintf(`"m" "" map[] map[a:%0256dc]`, 7): 1,
		},
		map[string]int64{fmt.Sprintf(`"m" "" map[] map[a:%0256d]`, 7): 2},
	},
}

func twoRecords(a, b string) plog.Logs {
	ld := plog.NewLogs()
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	records.AppendEmpty().Attributes().PutStr("a", a)
	records.AppendEmpty().Attributes().PutStr("a", b)
	ld.MarkReadOnly()
	return ld
}

// TestDropInDifferences: the README's table of differences says what happens.
func TestDropInDifferences(t *testing.T) {
	for _, tt := range differences {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.count, countedBy(t, countconnector.NewFactory(), tt.yaml, []plog.Logs{tt.logs()}))
			assert.Equal(t, tt.want, countedBy(t, tallyconnector.NewFactory(), tt.yaml, []plog.Logs{tt.logs()}))
		})
	}
}

// A condition that fails on one record of a batch: count refuses the batch and sends nothing of it, tally counts the
// others.
func TestDropInFailingCondition(t *testing.T) {
	const yaml = `logs: {m: {conditions: ['Int(attributes["a"]) > 1 and Substring(attributes["a"], 0, 2) == "12"']}}`
	ctx := context.Background()
	for factory, want := range map[connector.Factory]int{countconnector.NewFactory(): 0, tallyconnector.NewFactory(): 1} {
		sink := new(consumertest.MetricsSink)
		c := newConnector(t, factory, yaml, sink)
		require.NoError(t, c.Start(ctx, componenttest.NewNopHost()))
		assert.Equal(t, want == 0, c.ConsumeLogs(ctx, twoRecords("7", "12")) != nil, factory.Type())
		require.NoError(t, c.Shutdown(ctx))
		assert.Len(t, totalsIn(sink), want, factory.Type())
	}
}

// TestDropInGenerated: the same of configurations that are put together at random.
func TestDropInGenerated(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 100 {
		yaml := countConfig(random)
		batches := strangeLogs(random)
		require.Equal(t, countedBy(t, countconnector.NewFactory(), yaml, batches), countedBy(t, tallyconnector.NewFactory(), yaml, batches), yaml)
	}
}

// countConfig returns a configuration of up to four metrics with up to three conditions and attributes each.
func countConfig(random *rand.Rand) string {
	pick := func(most int, from ...string) string {
		random.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
		return strings.Join(from[:random.IntN(most+1)], ", ")
	}
	var metrics []string
	for range 4 {
		var attributes []string
		for _, key := range []string{"method", "status", "seconds", "ok", "any", "env", "shared", "tenant", "service.name", "x*", "*", "map", "list", "nowhere", "日本"} {
			if random.IntN(8) == 0 {
				attributes = append(attributes, fmt.Sprintf("{key: %q%s}", key, pick(1, `, default_value: 1`, `, default_value: x`, `, default_value: [x, 1.5]`, `, default_value: {a: b}`, `, default_value: ""`, `, default_value: true`, `, default_value: prod`)))
			}
		}
		name := []string{"a", "a.b", "a_b", "a b", "2xx", "4xx", "target_info", "otelcol_a", "日本", "été", "%", "x{y}"}[random.IntN(12)]
		conditions := pick(3, `'attributes["ok"] == true'`, `'attributes["status"] >= 400'`, `'severity_number > 8'`, `'IsMatch(body, "[13579]$")'`, `'attributes["env"] == nil'`,
			`'resource.attributes["shared"] == "shop"'`, `'instrumentation_scope.name != "s1"'`, `'attributes["any"] == 1'`, `'Len(severity_text) > 0 and attributes["seconds"] < 2'`)
		metrics = append(metrics, fmt.Sprintf("%q: {conditions: [%s], attributes: [%s]}", name, conditions, strings.Join(attributes, ", ")))
	}
	slices.Sort(metrics) // a name that comes twice is no YAML
	metrics = slices.CompactFunc(metrics, func(a, b string) bool { return strings.SplitN(a, `"`, 3)[1] == strings.SplitN(b, `"`, 3)[1] })
	return "logs: {" + strings.Join(metrics, ", ") + "}"
}
