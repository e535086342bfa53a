// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// waysOfAValue are ways in which a value named a, or the body, gets into a count.
const waysOfAValue = `
hmac_key: 0123456789abcdef0123456789abcdef
resource_attributes: []
logs:
  all: {}
  key: {attributes: [{key: a, optional: true}]}
  glob: {attributes: [{key: "a*"}]}
  hash: {attributes: [{key: a, optional: true, hash_function: hmac-sha256}]}
  body: {attributes: [{key: b, value: body, optional: true}]}
  expression: {attributes: [{key: v, value: 'attributes["a"]', optional: true}]}
  condition: {conditions: ['attributes["a"] != body']}
  plain: {conditions: ['attributes["b"] == nil']}
  bytes: {sum: bytes}
  amount: {sum: 'attributes["a"]'}`

// A record with a value thousands of levels deep is passed on and counted, or it is entered why not.
func TestValuesNestedDeep(t *testing.T) {
	const deep = 50_000
	for name, yaml := range map[string]string{"default": "", "all ways": waysOfAValue, "no limit": waysOfAValue + "\nattribute_value_length_limit: 0"} {
		for place, edit := range map[string]func(*valuetest.Record, [][]byte, valuetest.Bytes){
			"resource":  func(r *valuetest.Record, list [][]byte, _ valuetest.Bytes) { r.Resource = list },
			"scope":     func(r *valuetest.Record, list [][]byte, _ valuetest.Bytes) { r.Scope = list },
			"attribute": func(r *valuetest.Record, list [][]byte, _ valuetest.Bytes) { r.Attributes = list },
			"body":      func(r *valuetest.Record, _ [][]byte, v valuetest.Bytes) { r.Body = v },
		} {
			t.Run(name+" "+place, func(t *testing.T) {
				store, sink := NewMemoryStore(), new(consumertest.LogsSink)
				h := start(t, testConfig(t, yaml), store, sink)
				depths := []int{0, 1, serieskey.MaxDepth, serieskey.MaxDepth + 1, deep}
				for i, depth := range depths {
					var r valuetest.Record
					v := valuetest.Nested(depth, i%2 == 0)
					edit(&r, [][]byte{valuetest.Member("a", v)}, v)
					ld, err := r.Logs()
					require.NoError(t, err)
					require.NoError(t, h.ConsumeLogs(t.Context(), ld))
				}
				require.NoError(t, h.Shutdown(t.Context()))
				assert.Equal(t, len(depths), sink.LogRecordCount())
				h.requireConserved(t)
				assert.EqualValues(t, len(depths), h.number(t, "records_received"))
				for _, m := range []string{"all", "key", "glob", "hash", "plain", "bytes"} {
					if name != "default" {
						assert.EqualValues(t, len(depths), h.number(t, "records_counted", "metric="+m), m)
					}
				}
				if name != "default" {
					assert.EqualValues(t, 2, h.number(t, "records_not_counted", "reason=condition_error"))
				}
			})
		}
	}
}

// Under error_mode propagate a record that OTTL must not see refuses its batch, as any error of OTTL does.
func TestTooDeepIsAnError(t *testing.T) {
	h := start(t, testConfig(t, `{error_mode: propagate, logs: {m: {conditions: ['body != nil and true']}}}`), NewMemoryStore(), consumertest.NewNop())
	ld, err := valuetest.Record{Body: valuetest.Nested(serieskey.MaxDepth+1, false)}.Logs()
	require.NoError(t, err)
	assert.ErrorIs(t, h.ConsumeLogs(t.Context(), ld), extract.ErrTooDeep)
	h.requireConserved(t)
}
