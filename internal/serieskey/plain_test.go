// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringN(0, 6, 20), rapid.SampledFrom([]string{"", "a", "é", "\"", "\\", "},{", "\u2028", "\x00", "\xff", "\ufffd", "200", "true", "]", ":"}))
}

func anyAttributes(t *rapid.T, label string) (list []Attribute) {
	for name, kind := range rapid.MapOfN(anyText(), rapid.IntRange(0, 4), 0, 4).Draw(t, label) {
		v := StringValue(anyText().Draw(t, "value"))
		switch kind {
		case 1:
			v = IntValue(rapid.Int64().Draw(t, "int"))
		case 2:
			v = DoubleValue(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, 1e21, 1e-7, math.Inf(1), math.NaN()})).Draw(t, "double"))
		case 3:
			v = BoolValue(rapid.Bool().Draw(t, "bool"))
		}
		list = append(list, Attribute{name, v})
	}
	return list
}

// Whatever a key is made of, its text is cut where its parts meet, and they read as Decode reads them; what was changed
// somewhere is read in the same way by the fast decoder and the standard library's, or by neither.
func TestSplitAndObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{Metric: anyText().Draw(t, "metric"), Resource: anyAttributes(t, "resource"), Attributes: anyAttributes(t, "attributes")}
		text := k.String()
		if decoded, err := Decode(text); err == nil {
			metric, resource, attributes, ok := Split(text)
			require.True(t, ok)
			require.Equal(t, text, "["+metric+","+resource+","+attributes+"]")
			first, ok := Object(nil, resource)
			require.True(t, ok)
			second, ok := Object(nil, attributes)
			require.True(t, ok)
			require.Equal(t, decoded.Resource, first)
			require.Equal(t, decoded.Attributes, second)
		}
		broken := []byte(text)
		at := rapid.IntRange(0, len(broken)-1).Draw(t, "at")
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			broken[at] = rapid.Byte().Draw(t, "byte")
		case 1:
			broken = append(broken[:at], broken[at+1:]...)
		case 2:
			broken = append(broken[:at:at], append([]byte(rapid.SampledFrom([]string{",", "0", " ", "{", "-", "e", `"`, "[]"}).Draw(t, "more")), broken[at:]...)...)
		}
		fast, ok := decodePlain(string(broken))
		slow, err := decodeSlowly(string(broken))
		if ok {
			require.NoError(t, err, "%s", broken)
			require.Equal(t, slow, fast)
		}
	})
}

func TestDecodePlainIsTaken(t *testing.T) {
	_, ok := decodePlain(`["m",{"é":"ü"},{"a":1,"b":1.5,"c":true,"d":""}]`)
	assert.True(t, ok)
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Decode(`["http.requests",{"service.instance.id":"1","service.name":"checkout"},{"http.route":"/cart/items","status":200,"user":"u1"}]`)
	}
}
