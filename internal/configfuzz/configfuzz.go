// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package configfuzz feeds configurations of components with YAML that nobody has checked.
package configfuzz

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

// mistakes are YAML that suits no component, or any.
var mistakes = []string{
	``, `{}`, `[]`, `a`, `store:`, `store: []`, `store: {}`, `store: tally_memory/x`, `storage: "/"`, `flush_interval: -1s`, `flush_interval: 1e99`,
	`flush_interval: 5s`, `stale_after: x`, `temporality: delta`, `temporality: {}`, `unknown: 1`, `? {a: b} : c`, "flush_interval: \"\x00\"",
}

// Fuzz checks with each YAML that cfg takes it or says what is wrong with it, and that a component which run makes of a
// valid one starts or says why not, and ends. Nothing panics. run may change the configuration, for instance so that it
// listens to nobody, or skip the test.
func Fuzz(f *testing.F, defaults func() component.Config, run func(t *testing.T, cfg component.Config) (component.Component, error), seeds ...string) {
	for _, yaml := range append(seeds, mistakes...) {
		f.Add(yaml)
	}
	f.Fuzz(func(t *testing.T, yaml string) {
		path := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(path, []byte(yaml), 0o600))
		conf, err := confmaptest.LoadConf(path)
		if err != nil {
			t.Skip("no map in YAML")
		}
		cfg := defaults()
		if conf.Unmarshal(cfg) != nil || confmap.Validate(cfg) != nil {
			return
		}
		c, err := run(t, cfg)
		require.NoError(t, err, "what is valid can be made")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.Start(ctx, noHost{}) // it may say that there is no such store
		_ = c.Shutdown(ctx)        // its own deadline may be a nanosecond
		require.NoError(t, ctx.Err(), "it has ended in time")
	})
}

type noHost struct{}

func (noHost) GetExtensions() map[component.ID]component.Component { return nil }
