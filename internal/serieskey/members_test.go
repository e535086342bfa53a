// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// again makes the text of a key from what Members yields.
func again(t testing.TB, metric, text string) (string, bool) {
	k := Key{Metric: metric}
	ok := Members(text, func(resource bool, name, value string) {
		n, nameErr := ParseString(name)
		v, valueErr := ParseValue(value)
		if nameErr != nil || valueErr != nil {
			t.Fatalf("%s and %s of %s: %v, %v", name, value, text, nameErr, valueErr)
		}
		if resource {
			k.Resource = append(k.Resource, Attribute{n, v})
		} else {
			k.Attributes = append(k.Attributes, Attribute{n, v})
		}
	})
	return k.String(), ok
}

func TestMembers(t *testing.T) {
	k := Key{
		Metric:     "a\"],{",
		Resource:   []Attribute{{"r\\", DoubleValue(1e21)}, {"s", StringValue("}\\\"]\x00")}},
		Attributes: []Attribute{{"", IntValue(-1)}, {"b", BoolValue(true)}, {"c", StringValue("200,")}},
	}
	text, ok := again(t, k.Metric, k.String())
	require.True(t, ok)
	assert.Equal(t, k.String(), text)
	for _, bad := range []string{
		"", "[", `["m"`, `["m]`, `["m",{}`, `["m",{},{}`, `["m",{},{}]]`, `["m",{"a"},{}]`, `["m",{"a":},{}]`, `["m",{"a":1,},{}]`,
		`["m",{"a":[1]},{}]`, `["m",{"a":{}},{}]`, `["m",{"a":1`, `["m",{"a":"x\`, `["m",{"a":"x"x},{}]`, `{}`, `[1,{},{}]`,
	} {
		assert.False(t, Members(bad, func(bool, string, string) {}), bad)
	}
	assert.Zero(t, testing.AllocsPerRun(10, func() { Members(text, func(bool, string, string) {}) }))
}

func TestParse(t *testing.T) {
	for _, text := range []string{`1`, `"a"`, `"\u0000"`, `1.5`, `true`, `"é"`} {
		v, err := ParseValue(text)
		assert.NoError(t, err)
		assert.Equal(t, text, string(AppendValue(nil, v)))
		assert.Equal(t, v.AsString(), Shown(text))
	}
	for _, text := range []string{``, `"`, `"a`, `null`, `1,"x":2`, `1}`, `"a"b"`, "\"\x00\"", "\"\xff\"", `01`} {
		_, err := ParseValue(text)
		assert.Error(t, err, text)
		_, err = ParseString(text)
		assert.Error(t, err, text)
	}
	_, err := ParseString("1")
	assert.Error(t, err)
}

// FuzzMembers: of what Decode takes, Members yields the same.
func FuzzMembers(f *testing.F) {
	f.Add(`["log.record.count",{"service.name":"checkout"},{"env":"prod","code":200,"d":1.5,"ok":true}]`)
	f.Add(`["m\"",{"a\\":"\u0000\n"},{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Decode(text)
		if err != nil {
			Members(text, func(bool, string, string) {}) // whatever it answers
			return
		}
		if got, ok := again(t, k.Metric, text); !ok || got != text {
			t.Fatalf("%q becomes %q, %v", text, got, ok)
		}
	})
}
