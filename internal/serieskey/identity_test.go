// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

func TestTextForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  Key
		want string
	}{
		{"metric alone", Key{Metric: "log.record.count"}, `["log.record.count",{},{}]`},
		{
			"the example of the design",
			Key{
				Metric:     "log.record.count",
				Resource:   []Attribute{{"service.name", StringValue("checkout")}},
				Attributes: []Attribute{{"env", StringValue("prod")}, {"http.response.status_code", IntValue(200)}},
			},
			`["log.record.count",{"service.name":"checkout"},{"env":"prod","http.response.status_code":200}]`,
		},
		{
			"types stay apart",
			Key{Metric: "m", Attributes: []Attribute{
				{"a", StringValue("1")}, {"b", IntValue(1)}, {"c", DoubleValue(1)}, {"d", BoolValue(true)}, {"e", BoolValue(false)},
			}},
			`["m",{},{"a":"1","b":1,"c":1.0,"d":true,"e":false}]`,
		},
		{
			"doubles always have a point or an exponent",
			Key{Metric: "m", Attributes: []Attribute{
				{"a", DoubleValue(1e21)},
				{"b", DoubleValue(-0.5)},
				{"c", DoubleValue(math.Copysign(0, -1))},
				{"d", DoubleValue(math.NaN())},
				{"e", DoubleValue(math.Inf(-1))},
				{"f", DoubleValue(math.MaxFloat64)},
			}},
			`["m",{},{"a":1e+21,"b":-0.5,"c":0.0,"d":"NaN","e":"-Inf","f":1.7976931348623157e+308}]`,
		},
		{
			"integers at the edge",
			Key{Metric: "m", Attributes: []Attribute{{"a", IntValue(math.MaxInt64)}, {"b", IntValue(math.MinInt64)}}},
			`["m",{},{"a":9223372036854775807,"b":-9223372036854775808}]`,
		},
		{
			"escapes",
			Key{Metric: "\"\\/<>&", Attributes: []Attribute{{"a\x00\x1b\x7f", StringValue("\b\t\n\f\r\u009b\u00a0\u2028\u2029é€😀")}}},
			`["\"\\/<>&",{},{"a\u0000\u001b\u007f":"\b\t\n\f\r\u009b \u2028\u2029é€😀"}]`,
		},
		{
			"invalid UTF-8 becomes U+FFFD, byte by byte",
			Key{Metric: "m", Attributes: []Attribute{{"a", StringValue("x\xff\xfey\xc3")}}},
			"[\"m\",{},{\"a\":\"x\ufffd\ufffdy\ufffd\"}]",
		},
		{
			"the first byte beyond ASCII, and the first printable one",
			Key{Metric: "m", Attributes: []Attribute{{"a b", StringValue(" \x80~")}}},
			"[\"m\",{},{\"a b\":\" \ufffd~\"}]",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.key.String()
			assert.Equal(t, tt.want, text)
			assert.True(t, json.Valid([]byte(text)))
			decoded, err := Decode(text)
			require.NoError(t, err)
			assert.Equal(t, text, decoded.String())
		})
	}
}

func TestDecodeGivesBackTheKey(t *testing.T) {
	k := Key{
		Metric:     "m",
		Resource:   []Attribute{{"r", DoubleValue(200)}, {"s", StringValue("a\x00b")}},
		Attributes: []Attribute{{"", IntValue(-1)}, {"b", BoolValue(true)}, {"c", StringValue("200")}},
	}
	got, err := Decode(k.String())
	require.NoError(t, err)
	assert.Equal(t, k, got)
}

func TestDecodeRefusesWhatIsNotCanonical(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[]`, `"m"`, `["m"]`, `["m",{}]`, `["m",{},{},{}]`, `[1,{},{}]`, `["m",[],{}]`, `["m",{},{}]x`, `["m",{},{}] `,
		`["m", {},{}]`, `["m",{},{"a":null}]`, `["m",{},{"a":[1]}]`, `["m",{},{"a":{}}]`, `["m",{},{"a":1e400}]`,
		`["m",{},{"b":1,"a":1}]`, `["m",{},{"a":1,"a":1}]`, `["m",{},{"a":1e2}]`, `["m",{},{"a":01}]`, `["m",{},{"a":"\u0041"}]`,
		`["m",{},{"a":99999999999999999999}]`, `["m",{},{"a":-0}]`, `["m",{},{"a":-0.0}]`, "[\"m\",{},{\"a\":\"\xff\"}]",
		`["m",{},{"a":"\/"}]`, `["m",{},{"a":1`, `["m",{},{"a"`,
	} {
		_, err := Decode(text)
		assert.Error(t, err, "%q", text)
	}
}

func TestCompactForm(t *testing.T) {
	list := pcommon.NewValueSlice()
	list.Slice().AppendEmpty().SetInt(1)
	list.Slice().AppendEmpty().SetStr("x")
	object := pcommon.NewValueMap()
	object.Map().PutStr("z", "1")
	object.Map().PutBool("a", true)
	raw := pcommon.NewValueBytes()
	raw.Bytes().FromRaw([]byte{0, 1, 2})
	long := strings.Repeat("x", 10)

	for _, tt := range []struct {
		name  string
		value pcommon.Value
		want  string
		cut   bool
	}{
		{"string", pcommon.NewValueStr("prod"), `"prod"`, false},
		{"empty string", pcommon.NewValueStr(""), `""`, false},
		{"int", pcommon.NewValueInt(-200), `-200`, false},
		{"double", pcommon.NewValueDouble(200), `200.0`, false},
		{"NaN", pcommon.NewValueDouble(math.NaN()), `"NaN"`, false},
		{"true", pcommon.NewValueBool(true), `true`, false},
		{"false", pcommon.NewValueBool(false), `false`, false},
		{"empty", pcommon.NewValueEmpty(), `""`, false},
		{"bytes", raw, `"AAEC"`, false},
		{"slice", list, `"[1,\"x\"]"`, false},
		{"map", object, `"{\"a\":tru"`, true},
		{"n-1", pcommon.NewValueStr(long[:7]), `"xxxxxxx"`, false},
		{"n", pcommon.NewValueStr(long[:8]), `"xxxxxxxx"`, false},
		{"n+1", pcommon.NewValueStr(long[:9]), `"xxxxxxxx"`, true},
		{"cut at a character boundary", pcommon.NewValueStr("xxxxxxx€"), `"xxxxxxx"`, true},
		{"cut after a whole character", pcommon.NewValueStr("xxxxx€y"), `"xxxxx€"`, true},
		{"invalid UTF-8", pcommon.NewValueStr("a\xffb"), "\"a\ufffdb\"", false},
		{"invalid UTF-8 that grows past the limit", pcommon.NewValueStr("\xff\xff\xff"), "\"\ufffd\ufffd\"", true},
		{"continuation bytes alone", pcommon.NewValueStr(strings.Repeat("\x80", 20)), "\"\ufffd\ufffd\"", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const limit = 8
			compact := AppendCompact([]byte("before"), tt.value, limit)
			text, rest, cut := AppendNextText(nil, append(compact[6:], "after"...), limit)
			assert.Equal(t, tt.want, string(text))
			assert.Equal(t, "after", string(rest))
			assert.Equal(t, tt.cut, cut)
		})
	}
}

// A cut looks back for the start of a character as far as one is long, and no further; a text that is not UTF-8 is cut
// where the limit is.
func TestCutOfWhatIsNotUTF8(t *testing.T) {
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{
		{strings.Repeat("\x80", 9), 2, "\x80\x80"},
		{"a" + strings.Repeat("\x80", 20), 8, "a" + strings.Repeat("\x80", 7)},
		{"abcd" + strings.Repeat("\x80", 9), 7, "abcd\x80\x80\x80"},
		{"abc😀", 4, "abc"},
		{"abc😀", 6, "abc"},
		{"abc😀", 7, "abc😀"},
	} {
		got, wasCut := Cut(tt.text, tt.limit)
		assert.Equal(t, tt.want, got, "%q at %d", tt.text, tt.limit)
		assert.Equal(t, len(got) < len(tt.text), wasCut)
	}
}

// Invalid bytes grow to three each: up to the limit they are whole, and without one always.
func TestInvalidBytesAtTheLimit(t *testing.T) {
	for limit, want := range map[int]string{0: "\"\ufffd\ufffd\"", 5: "\"\ufffd\"", 6: "\"\ufffd\ufffd\"", 7: "\"\ufffd\ufffd\""} {
		text, _, cut := AppendNextText(nil, AppendCompactString(nil, "\xff\xff", limit), limit)
		assert.Equal(t, want, string(text), "%d", limit)
		assert.Equal(t, limit == 5, cut, "%d", limit)
	}
}

// The values of a compact form can be taken off one by one.
func TestSplitNext(t *testing.T) {
	values := [][]byte{
		AppendCompactString(nil, strings.Repeat("x", 300), 0), AppendCompactString(nil, "cut", 2), AppendCompactString(nil, "", 0),
		AppendCompactValue(nil, IntValue(-1), 0), AppendCompactValue(nil, DoubleValue(0.5), 0), AppendCompactValue(nil, BoolValue(true), 0), AppendAbsent(nil),
	}
	var all []byte
	for _, v := range values {
		all = append(all, v...)
	}
	for i, want := range values {
		assert.Equal(t, i == len(values)-1, NextIsAbsent(all))
		var first []byte
		first, all = SplitNext(all)
		assert.Equal(t, want, first)
	}
	assert.Empty(t, all)
	assert.Equal(t, strings.Repeat("x", 300), string(CompactText(append(values[0], "behind"...))))
	assert.Equal(t, "cu", string(CompactText(values[1])))
}

func TestCleanName(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		want  string
	}{
		{"name", 4, "name"},
		{"names", 4, "name"},
		{"names", 0, "names"},
		{"\xff", 0, "\ufffd"},
		{"\xff\xff", 6, "\ufffd\ufffd"},
		{"\xff\xff", 5, "\ufffd"},
		{"a\xffb", 5, "a\ufffdb"},
		{"abé", 3, "ab"},
	} {
		assert.Equal(t, tt.want, CleanName(tt.name, tt.limit), "%q at %d", tt.name, tt.limit)
	}
}

func TestNoLimitCutsNothing(t *testing.T) {
	s := strings.Repeat("x", 1<<20)
	text, _, cut := AppendNextText(nil, AppendCompactString(nil, s, 0), 0)
	assert.False(t, cut)
	assert.Len(t, text, len(s)+2)
}

func TestAppendingDoesNotAllocate(t *testing.T) {
	value := pcommon.NewValueStr("GET /é")
	compact, text := make([]byte, 0, 256), make([]byte, 0, 256)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		compact = AppendCompact(compact[:0], value, 256)
		text, _, _ = AppendNextText(text[:0], compact, 256)
	}))
}

// FuzzDecode: whatever decodes was canonical, and any Key that AppendText wrote decodes to itself.
func FuzzDecode(f *testing.F) {
	f.Add(`["log.record.count",{"service.name":"checkout"},{"env":"prod","code":200,"d":1.5,"ok":true}]`)
	f.Add(`["m",{},{"a":"\u0000\n"}]`)
	f.Add(`["m",{},{"a":1e+21}]`)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Decode(text)
		if err != nil {
			return
		}
		if k.String() != text {
			t.Fatalf("%q decodes and is written as %q", text, k.String())
		}
	})
}

// FuzzKey: distinct valid values give distinct text; every text is valid UTF-8, valid JSON, printable in one line,
// and decodes to what went in.
func FuzzKey(f *testing.F) {
	f.Add("m", "name", "value", int64(200), 0.5, "other")
	f.Add("", "\x00", "a\xff", int64(math.MinInt64), math.Inf(1), "a\xfe")
	f.Add("\"", "\\", "\u2028", int64(0), 1e300, "\u2029")
	f.Fuzz(func(t *testing.T, metric, name, s string, n int64, d float64, other string) {
		k := Key{Metric: metric, Resource: []Attribute{{name, StringValue(s)}}, Attributes: []Attribute{
			{"1", IntValue(n)}, {"2", DoubleValue(d)}, {"3", StringValue(other)},
		}}
		text := k.String()
		if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			t.Fatalf("%q is not JSON in UTF-8", text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Fatalf("%q is not printable", text)
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatalf("decode %q: %v", text, err)
		}
		if utf8.ValidString(metric) && utf8.ValidString(name) && utf8.ValidString(s) && utf8.ValidString(other) {
			assert.Equal(t, k, got)
		}
		compact := AppendCompactString(AppendCompactValue(AppendCompactString(nil, s, 16), IntValue(n), 16), other, 16)
		first, rest, _ := AppendNextText(nil, compact, 16)
		second, rest, _ := AppendNextText(nil, rest, 16)
		third, rest, _ := AppendNextText(nil, rest, 16)
		if len(rest) != 0 || !json.Valid(first) || !json.Valid(second) || !json.Valid(third) {
			t.Fatalf("compact form of %q, %d, %q reads back as %s %s %s", s, n, other, first, second, third)
		}
		var unquoted string
		if err := json.Unmarshal(first, &unquoted); err != nil || len(unquoted) > 16 {
			t.Fatalf("%q was cut to %q: %v", s, unquoted, err)
		}
	})
}

func TestMetricOf(t *testing.T) {
	for _, name := range []string{"m", "", "log.record.count", `a"b\c`, "\u0001", "é世", "<&>\u2028"} {
		metric, ok := MetricOf(Key{Metric: name, Attributes: []Attribute{{Name: "a", Value: StringValue(`","`)}}}.String())
		assert.True(t, ok, "%q", name)
		assert.Equal(t, name, metric)
	}
	for _, text := range []string{"", "[", `["`, `["m`, `["m"`, `["m"]`, `{"m":1}`, `["\`, `["\n"`, `["\n",`, `[1,{},{}]`} {
		_, ok := MetricOf(text)
		assert.False(t, ok, "%q", text)
	}
}
