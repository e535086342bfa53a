// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"pgregory.net/rapid"
)

// A store has the keys that somebody counts under, also those without room, until it drops them.
func TestHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.ForgetAfter, cfg.MaxKeys, cfg.Shards = time.Hour, 2, 1
		s := newExtension(extensiontest.NewNopSettings(typ), cfg).store
		bound := map[string]bool{}
		key := func(t *rapid.T) string { return fmt.Sprintf(`["m",{},{"n":%d}]`, rapid.IntRange(0, 4).Draw(t, "n")) }
		t.Repeat(map[string]func(*rapid.T){
			"bind": func(t *rapid.T) {
				k := key(t)
				require.True(t, s.Bind(k).Add(1, time.Time{}))
				bound[k] = true
			},
			"drop": func(t *rapid.T) {
				e, ok := s.local.find(key(t))
				if !ok {
					t.Skip()
				}
				e.acked = e.value.Load() // as if it were idle
				for _, k := range s.writer.slots[0].drop([]*entry{e}) {
					delete(bound, k)
				}
			},
			"drop aliases": func(*rapid.T) {
				s.local.aliases.idle(0, 0)
				for _, k := range s.local.aliases.drop(s.local.aliases.idle(time.Hour, 0)) {
					delete(bound, k)
				}
			},
			"": func(t *rapid.T) {
				for n := range 5 {
					k := fmt.Sprintf(`["m",{},{"n":%d}]`, n)
					require.Equal(t, bound[k], s.Has(k), k)
				}
			},
		})
	})
}
