// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// Each option that earlier versions had, with any value and beside any others, is refused with the value that holds
// now.
func TestFixedOptions(t *testing.T) {
	told := map[string]string{
		"max_sample_load": "is fixed at 0.03 now: delete it", "max_query_terms": "is fixed at 16 now: delete it",
		"max_query_length": "is fixed at 16384 now: delete it", "cursor_lifetime": "is fixed at 10m0s now: delete it",
		"max_cached_answers": "was removed: delete it", "Max-Query-Terms": "is fixed at 16 now: delete it",
	}
	values := []any{nil, 0, -1, 16, 0.03, "10m", "", true, []any{1}, map[string]any{"a": 1}, "${env:NOTHING}"}
	for range 200 {
		conf := map[string]any{"store": "tally_memory", "max_items": -rand.IntN(2)}
		for name := range told {
			if rand.IntN(2) == 0 {
				conf[name] = values[rand.IntN(len(values))]
			}
		}
		err := confmap.NewFromStringMap(conf).Unmarshal(createDefaultConfig())
		for name, want := range told {
			if _, set := conf[name]; set {
				require.Error(t, err)
				assert.Contains(t, err.Error(), fmt.Sprintf("`%s` %s", name, want))
			} else if err != nil {
				assert.NotContains(t, err.Error(), "`"+name+"`")
			}
		}
		if err != nil {
			assert.ErrorContains(t, err, fmt.Sprintf("`max_items` is %v: must be positive", conf["max_items"]), "other mistakes are told as well")
		}
	}
	err := confmap.NewFromStringMap(map[string]any{"tls": map[string]any{"max_query_terms": 1}}).Unmarshal(createDefaultConfig())
	assert.ErrorContains(t, err, "`tls::max_query_terms` is unknown")
}
