// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logtally/tallyprocessor/internal/metadata"
)

// The whole package is run a second time with the feature gates that this variable names.
func init() {
	for gate := range strings.SplitSeq(os.Getenv("TALLY_TEST_GATES"), ",") {
		if gate == "" {
			continue
		}
		if err := featuregate.GlobalRegistry().Set(gate, true); err != nil {
			panic(err)
		}
	}
}

// harness is a started processor with all that a test looks at.
type harness struct {
	processor.Logs
	telemetry *componenttest.Telemetry
	metrics   []string
}

// start starts a processor with a store, which may be nil, and shuts it down at the end of the test.
func start(t *testing.T, cfg *Config, store MetricStore, next consumer.Logs) *harness {
	t.Helper()
	var options []Option
	if store != nil {
		options = append(options, WithMetricStore(store))
	}
	h := &harness{telemetry: componenttest.NewTelemetry()}
	for _, m := range cfg.metrics() {
		h.metrics = append(h.metrics, m.name)
	}
	require.NoError(t, cfg.Validate())
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = h.telemetry.NewTelemetrySettings()
	p, err := NewFactory(options...).CreateLogs(t.Context(), set, cfg, next)
	require.NoError(t, err)
	h.Logs = p
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		_ = p.Shutdown(context.Background()) // a test that cares has done it
		require.NoError(t, h.telemetry.Shutdown(context.Background()))
	})
	return h
}

// number returns the sum of the points of one of tally's own metrics whose attributes include the given ones, written
// as name=value.
func (h *harness) number(t *testing.T, name string, attributes ...string) int64 {
	t.Helper()
	m, err := h.telemetry.GetMetric("otelcol_processor_tally_" + name)
	require.NoError(t, err)
	var points []metricdata.DataPoint[int64]
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	default:
		t.Fatalf("%s is a %T", name, m.Data)
	}
	var sum int64
	for _, p := range points {
		matches := true
		for _, a := range attributes {
			key, value, _ := strings.Cut(a, "=")
			got, _ := p.Attributes.Value(attribute.Key(key))
			matches = matches && got.String() == value
		}
		if matches {
			sum += p.Value
		}
	}
	return sum
}

// requireConserved checks the third promise of the contract: received = counted + not counted + in flight.
func (h *harness) requireConserved(t *testing.T) {
	t.Helper()
	for _, m := range h.metrics {
		by := "metric=" + m
		assert.Equal(t, h.number(t, "records_received"),
			h.number(t, "records_counted", by)+h.number(t, "records_not_counted", by)+h.number(t, "records_in_flight", by), m)
	}
}

// testConfig reads a configuration as a user writes it.
func testConfig(t testing.TB, yaml string) *Config {
	t.Helper()
	cfg, err := readConfig(t, yaml)
	require.NoError(t, err)
	return cfg
}

func readConfig(t testing.TB, yaml string) (*Config, error) {
	t.Helper()
	path := t.TempDir() + "/config.yaml"
	require.NoError(t, os.WriteFile(path, []byte(yaml), 0o600))
	conf, err := confmaptest.LoadConf(path)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := conf.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, cfg.Validate()
}

// logs returns n read-only records of one resource; edit may fill them in.
func logs(n int, edit func(i int, record plog.LogRecord)) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		record := records.AppendEmpty()
		record.Body().SetStr(fmt.Sprint("record ", i))
		if edit != nil {
			edit(i, record)
		}
	}
	ld.MarkReadOnly()
	return ld
}

// key is the key of the default metric for what logs returns.
const key = `["log.record.count",{"service.name":"checkout"},{}]`

// gatedStore is a MemoryStore whose first increment waits until the gate is opened, and with it every further one.
type gatedStore struct {
	*MemoryStore
	unbound //nolint:unused // it hides a method

	waiting chan struct{} // closed when an increment waits
	once    sync.Once
	gate    chan struct{}
}

// Self makes the processor count by more than Inc.
func (s *gatedStore) Self() MetricStore { return s }

func newGatedStore() *gatedStore {
	return &gatedStore{MemoryStore: NewMemoryStore(), waiting: make(chan struct{}), gate: make(chan struct{})}
}

func (s *gatedStore) Add(key string, n int) {
	s.once.Do(func() { close(s.waiting) })
	<-s.gate
	s.MemoryStore.Add(key, n)
}

func (s *gatedStore) open() { close(s.gate) }

// listOf returns what a store lists, by key.
func listOf(t *testing.T, l Lister) map[string]Total {
	t.Helper()
	list := map[string]Total{}
	for total, err := range l.Totals(t.Context()) {
		require.NoError(t, err)
		list[total.Key] = total
	}
	return list
}

// sumOf returns the sum of all totals of a store.
func sumOf(t *testing.T, l Lister) (sum, keys int) {
	t.Helper()
	for total, err := range l.Totals(t.Context()) {
		require.NoError(t, err)
		sum += total.Value
		keys++
	}
	return sum, keys
}

// unbound takes Bind off a store that is embedded beside it, so that all that is counted goes through its Add.
type unbound struct{}

// Bind makes the selector Bind ambiguous.
func (unbound) Bind() {}
