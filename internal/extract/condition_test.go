// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// What is plain is evaluated without OTTL, and what is not is left to it.
func TestPlainConditions(t *testing.T) {
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	for text, plain := range map[string]bool{
		`severity_number >= SEVERITY_NUMBER_INFO`:        true,
		`log.severity_number<9`:                          true,
		` severity_number != SEVERITY_NUMBER_FATAL4 `:    true,
		`severity_text == "INFO"`:                        true,
		`attributes["a"] == "x"`:                         true,
		`log.attributes["a"] != nil`:                     true,
		`resource.attributes["service.name"] == "shop"`:  true,
		`attributes["http.response.status_code"] >= 500`: true,
		`attributes["a"] == true`:                        true,
		`attributes["a"] > nil`:                          false,
		`attributes["a"] < true`:                         false,
		`attributes["a"] == "\""`:                        false,
		`attributes["a"]["b"] == "x"`:                    false,
		`attributes["a"] == 1.5`:                         false,
		`attributes["a"] == -1`:                          false,
		`severity_number == 9 and severity_text == "I"`:  false,
		`not severity_number == 9`:                       false,
		`(severity_number == 9)`:                         false,
		`9 == severity_number`:                           false,
		`Len(severity_text) == 4`:                        false,
		`body == "x"`:                                    false,
		`severity_number == nil`:                         false,
		`scope.attributes["a"] == "x"`:                   false,
	} {
		c, err := parser.Condition(text)
		require.NoError(t, err, text)
		assert.Equal(t, plain, c.plain != nil, text)
	}
	_, err = parser.Condition(`severity_number == SEVERITY_NUMBER_LOUD`)
	require.Error(t, err, "what OTTL refuses is refused")
}

// values of an attribute, one of each kind and the odd ones.
func valueOf(kind uint8, text string, n int64) pcommon.Value {
	v := pcommon.NewValueEmpty()
	switch kind % 9 {
	case 0:
		v.SetStr(text)
	case 1:
		v.SetInt(n)
	case 2:
		v.SetDouble(float64(n))
	case 3:
		v.SetDouble(math.Float64frombits(uint64(n)))
	case 4:
		v.SetBool(n%2 == 0)
	case 5:
		v.SetEmptyBytes().FromRaw([]byte(text))
	case 6:
		v.SetEmptyMap().PutStr("a", text)
	case 7:
		v.SetEmptySlice().AppendEmpty().SetStr(text)
	}
	return v
}

// FuzzPlainConditions holds the direct evaluation of conditions against OTTL's, on any text that is taken for plain.
func FuzzPlainConditions(f *testing.F) {
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(f, err)
	literals := []string{"nil", "true", "false", `"x"`, `""`, `"ä"`, "0", "9", "500", "SEVERITY_NUMBER_WARN2", "123456789012345678", "007"}
	for _, subject := range []string{
		"severity_number", "log.severity_number", "severity_text", `attributes["a"]`, `resource.attributes["a"]`, `attributes[""]`,
	} {
		for operator := range operators {
			for i, literal := range literals {
				f.Add(subject+" "+operator+literal, uint8(i), "x", int64(9*(i%3)))
			}
		}
	}
	for kind := range uint8(9) {
		for _, n := range []int64{0, 499, 500, 501, math.MaxInt64, math.MinInt64, int64(math.Float64bits(math.NaN()) >> 1)} {
			f.Add(`attributes["a"] >= 500`, kind, "x", n)
			f.Add(`attributes["a"] != 500`, kind, "x", n)
			f.Add(`attributes["a"] == "x"`, kind, "x", n)
		}
		for _, literal := range literals {
			for _, operator := range []string{"==", "!="} {
				f.Add(`attributes["a"] `+operator+literal, kind, "", int64(0))
				f.Add(`resource.attributes["a"] `+operator+literal, kind, "x", int64(9))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string, kind uint8, value string, n int64) {
		condition, err := parser.Condition(text)
		if err != nil || condition.plain == nil {
			return
		}
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		sl := rl.ScopeLogs().AppendEmpty()
		record := sl.LogRecords().AppendEmpty()
		record.SetSeverityNumber(plog.SeverityNumber(int32(n)))
		record.SetSeverityText(value)
		if kind%10 != 9 {
			valueOf(kind, value, n).CopyTo(record.Attributes().PutEmpty(condition.plain.key))
			valueOf(kind+1, value, n).CopyTo(rl.Resource().Attributes().PutEmpty(condition.plain.key))
		}
		r := recordContext{rl: rl, sl: sl, record: record}
		defer r.close()
		want, err := r.evalOTTL(t.Context(), condition)
		require.NoError(t, err, "a plain condition never fails")
		assert.Equal(t, want, condition.plain.met(rl.Resource(), record), "%q with %d of kind %d, or %q", text, n, kind, value)
	})
}
