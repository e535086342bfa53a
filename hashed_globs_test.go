// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/extract"
)

// In whichever order globs stand, what one of them is to hash is hashed. A name that is listed is as its own entry
// says.
func TestHashedGlobs(t *testing.T) {
	patterns := []string{"*", "**", "a*", "*b", "a*b", "*a*", "ab", "b"}
	names := []string{"a", "b", "ab", "ba", "aab", "abb", "bab", "c"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var attributes []string
		listed, hashed := map[string]bool{}, []string{}
		for _, i := range r.Perm(len(patterns))[:2+r.IntN(3)] {
			entry := fmt.Sprintf("key: %q", patterns[i])
			if !extract.IsGlob(patterns[i]) {
				listed[patterns[i]] = true
				entry += ", optional: true"
			} else if r.IntN(2) == 0 {
				entry += ", hash_function: hmac-sha256"
				hashed = append(hashed, patterns[i])
			}
			attributes = append(attributes, "{"+entry+"}")
		}
		if len(hashed) == 0 {
			continue
		}
		yaml := fmt.Sprintf("{resource_attributes: [], hmac_key: k%032d, logs: {m: {attributes: [%s]}}}", 1, strings.Join(attributes, ", "))
		cfg, err := readConfig(t, yaml)
		require.NoError(t, err)
		require.NoError(t, cfg.Validate())
		store := NewMemoryStore()
		h := start(t, cfg, store, consumertest.NewNop())
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, func(_ int, record plog.LogRecord) {
			for _, name := range names {
				record.Attributes().PutStr(name, "plain-"+name)
			}
		})))
		require.NoError(t, h.Shutdown(t.Context()))
		for key := range listOf(t, store) {
			for _, name := range names {
				for _, pattern := range hashed {
					if !listed[name] && extract.Overlap(name, pattern) {
						assert.NotContains(t, key, fmt.Sprintf(`"plain-%s"`, name), yaml)
					}
				}
			}
		}
	}
}
