// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// word returns a random text of few letters, so that many fit, with stars if they are wanted.
func word(random *rand.Rand, letters string) string {
	var text strings.Builder
	for range random.IntN(7) {
		text.WriteByte(letters[random.IntN(len(letters))])
	}
	return text.String()
}

// expression returns a glob as a regular expression.
func asRegexp(glob string) *regexp.Regexp {
	return regexp.MustCompile(`^(?s:` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `)$`)
}

// The resource attributes that names and globs choose are those that a regular expression chooses, by name and each
// once.
func TestResourceAttributesByGlob(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 5000 {
		names := map[string]bool{}
		for range random.IntN(5) {
			names[word(random, "ab.***")] = true
		}
		attributes, want := pcommon.NewMap(), map[string]string{}
		for range random.IntN(10) {
			name, value := word(random, "ab."), word(random, "xyz")
			attributes.PutStr(name, value)
			for pattern := range names {
				if asRegexp(pattern).MatchString(name) {
					want[name] = value
				}
			}
		}
		x := New(Settings{ResourceAttributes: slices.Collect(maps.Keys(names)), Metrics: []Metric{{Name: "m"}}})
		if len(names) == 0 {
			x = New(Settings{ResourceAttributes: []string{}, Metrics: []Metric{{Name: "m"}}})
		}
		var order []string
		got := map[string]string{}
		for _, a := range x.selectResource(nil, attributes) {
			order = append(order, a.name)
			got[a.name] = a.value.Str()
		}
		require.Equal(t, want, got, "%v of %v", names, attributes.AsRaw())
		require.True(t, slices.IsSorted(order))
		require.Len(t, order, len(want))
	}
}

// A name that a resource has twice, or has in a form that is cleaned, is there once.
func TestResourceAttributesTwice(t *testing.T) {
	attributes := pcommon.NewMap()
	attributes.PutStr("a\xff", "1")
	attributes.PutStr("a\xfe", "2")
	attributes.PutStr("a", "3")
	x := New(Settings{ResourceAttributes: []string{"a*", "a", "*"}, Metrics: []Metric{{Name: "m"}}})
	var got []string
	for _, a := range x.selectResource(nil, attributes) {
		got = append(got, a.name+"="+a.value.Str())
	}
	require.Equal(t, []string{"a=3", "a\uFFFD=1"}, got)

	attributes = pcommon.NewMap()
	attributes.PutStr("longer", "1")
	x = New(Settings{ResourceAttributes: []string{"longer", "long*"}, ValueLengthLimit: 4, Metrics: []Metric{{Name: "m"}}})
	require.Len(t, x.selectResource(nil, attributes), 1, "what is listed by name is not cut, and is there once")
}

// Two patterns overlap if some text matches both: such a text, if there is one, is found among all short ones.
func TestOverlap(t *testing.T) {
	var texts []string
	for n, from := 0, 0; n < 7; n++ {
		if n == 0 {
			texts = append(texts, "")
			continue
		}
		until := len(texts)
		for _, text := range texts[from:until] {
			texts = append(texts, text+"a", text+"b")
		}
		from = until
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		a, b := word(random, "ab*"), word(random, "ab*")
		a, b = a[:min(3, len(a))], b[:min(3, len(b))]
		left, right := asRegexp(a), asRegexp(b)
		want := slices.ContainsFunc(texts, func(text string) bool { return left.MatchString(text) && right.MatchString(text) })
		require.Equal(t, want, Overlap(a, b), "%q and %q", a, b)
		require.Equal(t, want, Overlap(b, a), "%q and %q", b, a)
	}
}
