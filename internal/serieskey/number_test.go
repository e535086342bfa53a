// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"pgregory.net/rapid"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// Number texts are pdata's in all forms, but for negative zero, which is zero, and the infinities, which have a text in
// keys.
func TestNumbersAreShownAsPdataDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := valuetest.Number(true).Draw(t, "number")
		want := pcommon.NewValueDouble(f).AsString()
		text, _ := serieskey.Text(pcommon.NewValueDouble(f), 0)
		require.Equal(t, want, text)
		if f == 0 {
			want = "0"
		}
		v := serieskey.DoubleValue(f)
		require.Equal(t, want, v.AsString())
		require.Equal(t, want, serieskey.Shown(string(serieskey.AppendValue(nil, v))))
		n := rapid.Int64().Draw(t, "int")
		require.Equal(t, pcommon.NewValueInt(n).AsString(), serieskey.Shown(string(serieskey.AppendValue(nil, serieskey.IntValue(n)))))
	})
	assert.Equal(t, "NaN", serieskey.DoubleValue(math.NaN()).AsString())
	for _, text := range []string{"", "-", "1e400", "-x", "1.x", "nan", "true", "x"} {
		assert.Equal(t, text, serieskey.Shown(text))
	}
}

// typed draws values of keys: those of any number in all kinds, and others that are shown alike.
func typed() *rapid.Generator[serieskey.Value] {
	return rapid.Custom(func(t *rapid.T) serieskey.Value {
		f := valuetest.Number(true).Draw(t, "double")
		n := rapid.OneOf(rapid.Int64(), rapid.Int64Range(1<<53, 1<<62)).Draw(t, "int") // more digits than a double has
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return serieskey.IntValue(n)
		case 1:
			return serieskey.DoubleValue(float64(n))
		case 2:
			return serieskey.DoubleValue(f)
		case 3:
			return serieskey.StringValue(serieskey.DoubleValue(f).AsString())
		case 4:
			return serieskey.IntValue(int64(rapid.IntRange(-2, 2).Draw(t, "small")))
		case 5:
			return serieskey.DoubleValue(float64(rapid.IntRange(-2, 2).Draw(t, "small")))
		}
		return serieskey.StringValue(valuetest.Text().Draw(t, "text"))
	})
}

// number returns all digits of a number.
func number(v serieskey.Value) (*big.Rat, bool) {
	switch v.Kind() {
	case serieskey.Int:
		return new(big.Rat).SetInt64(v.Int()), true
	case serieskey.Double:
		return new(big.Rat).SetFloat64(v.Double()), true
	}
	return nil, false
}

// A wanted value finds, in any kind, what equals it and what is shown as it is, and nothing else.
func TestWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, value := typed().Draw(t, "wanted"), typed().Draw(t, "value")
		if rapid.Bool().Draw(t, "near") && value.Kind() == serieskey.Double {
			want = serieskey.IntValue(int64(max(-1<<62, min(1<<62, value.Double()))) + int64(rapid.IntRange(-1, 1).Draw(t, "more")))
		}
		text := string(serieskey.AppendValue(nil, value))
		shown, _ := serieskey.ParseValue(text)
		alike := shown.AsString() == serieskey.CleanName(want.AsString(), 0)
		a, aIsNumber := number(want)
		b, bIsNumber := number(value)
		equal := alike || aIsNumber && bIsNumber && a.Cmp(b) == 0
		require.Equal(t, alike, serieskey.WantText(want.AsString()).Is(text), "%#v %s", want, text)
		require.Equal(t, equal, serieskey.WantValue(want).Is(text), "%#v %s", want, text)
		if aIsNumber {
			written := string(serieskey.AppendValue(nil, want))
			equal := shown.AsString() == written || bIsNumber && a.Cmp(b) == 0
			require.Equal(t, equal, serieskey.Want(written).Is(text), "%#v %s", want, text)
		}
	})
	for wanted, is := range map[string][]string{
		"200":   {"200", "200.0", `"200"`},
		"200.0": {"200", "200.0", `"200.0"`},
		"2e2":   {"200", "200.0", `"2e2"`},
		"-0":    {"0", "0.0", `"-0"`},
		"007":   {`"007"`},
		"NaN":   {`"NaN"`},
		"0x10":  {`"0x10"`},
		"true":  {"true", `"true"`},
		"1e400": {`"1e400"`},
		"\xff":  {`"` + "\ufffd" + `"`},
	} {
		for _, text := range []string{
			"200", "200.0", `"200"`, `"200.0"`, `"2e2"`, "0", "0.0", `"-0"`, "7", `"007"`, `"NaN"`, "16", `"0x10"`, "true", `"true"`, `"1e400"`, `"` + "\ufffd" + `"`,
		} {
			assert.Equal(t, slices.Contains(is, text), serieskey.Want(wanted).Is(text), "%s %s", wanted, text)
		}
	}
}
