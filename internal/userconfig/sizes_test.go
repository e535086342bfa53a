// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// host has a store.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("tally_memory"): extensionOf{store: memory.New()}}
}

type extensionOf struct {
	component.StartFunc
	component.ShutdownFunc
	store store.MetricStore
}

func (e extensionOf) MetricStore() store.MetricStore { return e.store }

// create makes a component of a configuration.
func create(ctx context.Context, name string, cfg component.Config) (component.Component, error) {
	switch f := factories[name].(type) {
	case processor.Factory:
		return f.CreateLogs(ctx, processortest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	case connector.Factory:
		return f.CreateLogsToMetrics(ctx, connectortest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	case receiver.Factory:
		return f.CreateMetrics(ctx, receivertest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	case extension.Factory:
		return f.Create(ctx, extensiontest.NewNopSettings(f.Type()), cfg)
	}
	return nil, fmt.Errorf("%s has no factory that is known", name)
}

// allowance is what a component may allocate from its making to its end, whatever its numbers are.
const allowance = 512 << 20

// Any integer in any option, as large as they come, is refused with a reason, or the component starts and stops with
// it: without a panic, and without memory for what may never come. The largest that is not refused is tried, too.
func TestLargeNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	found, refused := 0, 0
	for name := range factories {
		for _, o := range optionsOf(name) {
			if kind := o.kind.Kind(); kind < reflect.Int || kind > reflect.Uint64 || o.kind == reflect.TypeFor[time.Duration]() {
				continue
			}
			found++
			numbers := []int64{1e18, math.MaxInt64, 1e12}
			for range 20 {
				numbers = append(numbers, random.Int64N(1<<(10+random.IntN(53))))
			}
			largest := int64(-1)
			for _, n := range numbers {
				if err := read(name, o.with(n)); err == nil {
					largest = max(largest, n)
				} else if n > 1e6 {
					refused++
					assert.Contains(t, firstLine(err), fmt.Sprintf("`%v`", o))
					assert.Contains(t, firstLine(err), fmt.Sprint(n))
				}
			}
			startAndStop(t, name, o, bisect(largest, func(n int64) bool { return read(name, o.with(n)) == nil }))
		}
	}
	assert.Greater(t, found, 10, "the test looks at the options")
	assert.Positive(t, refused)
}

// bisect returns the largest number that is accepted, given one that is.
func bisect(accepted int64, accepts func(int64) bool) int64 {
	if accepted < 0 || accepts(math.MaxInt64) {
		return math.MaxInt64
	}
	for low, high := accepted, int64(math.MaxInt64); ; {
		if high-low <= 1 {
			return low
		}
		if middle := low + (high-low)/2; accepts(middle) {
			low = middle
		} else {
			high = middle
		}
	}
}

func startAndStop(t *testing.T, name string, o option, n int64) {
	t.Helper()
	values := o.with(n)
	for key, value := range needed[name] {
		values[key] = value
	}
	if name == "console" && o.path[0] != "endpoint" {
		values["endpoint"] = "127.0.0.1:0"
	}
	if name == "redis" {
		values["tls"], values["endpoints"], values["timeout"], values["shutdown_timeout"] =
			map[string]any{"insecure": true}, []any{"127.0.0.1:1"}, "10ms", "10ms"
	}
	cfg := factories[name].CreateDefaultConfig()
	if err := confmap.NewFromStringMap(values).Unmarshal(cfg); err != nil {
		return // no number is accepted beside the rest
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NotPanics(t, func() {
		c, err := create(t.Context(), name, cfg)
		require.NoError(t, err, "%s: %v: %d", name, o, n)
		require.NoError(t, c.Start(t.Context(), host{}), "%s: %v: %d", name, o, n)
		assert.NoError(t, c.Shutdown(t.Context()), "%s: %v: %d", name, o, n)
	}, "%s: %v: %d", name, o, n)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(allowance), "%s: %v: %d", name, o, n)
	t.Logf("%s: %s: %d, %d kB", name, strings.Join(o.path, "::"), n, (after.TotalAlloc-before.TotalAlloc)/1024)
}
