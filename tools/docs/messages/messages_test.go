// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A message is found in each place that code has for it, once, whatever it says and however it is split.
func TestMessagesOfGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.StringMatching("[a-z`%]{1,9}"), 3, 9).Draw(rt, "words"), " ")
		at := rapid.IntRange(0, len(text)).Draw(rt, "split")
		place := rapid.SampledFrom([]string{
			"var err = errors.New(%s)", "func f() { x.Warn(%s, a) }", "var m = map[int]string{1: %s}", "var _ = f(1, %s)", "const c = %s",
			"func f() error { return fmt.Errorf(%s, 1) }",
		}).Draw(rt, "place")
		source := "package p\n\n" + fmt.Sprintf(place, fmt.Sprintf("%q +\n%q", text[:at], text[at:])) + "\n"
		list, err := ofGo(source)
		require.NoError(rt, err, source)
		require.Len(rt, list, 1, source)
		assert.Equal(rt, text, list[0].text)
		assert.Equal(rt, 3, list[0].line)
	})
}

func TestOthers(t *testing.T) {
	for want, read := range map[string]func() ([]message, error){
		"description Number of x.":  func() ([]message, error) { return ofMetadata("a:\n  description: Number of x.\n") },
		"page Top now, page A hint": func() ([]message, error) { return ofHTML("<b title=\"A hint\">Top now</b>\n") },
		"script no such key":        func() ([]message, error) { return ofScript("// it's a b\nf('no such key', \"key\")\n") },
	} {
		list, err := read()
		require.NoError(t, err)
		var found []string
		for _, m := range list {
			found = append(found, m.kind+" "+m.text)
		}
		assert.Equal(t, want, strings.Join(found, ", "))
	}
}

// The project's own messages are there.
func TestCollect(t *testing.T) {
	list, err := collect("../../..")
	require.NoError(t, err)
	kinds := map[string]int{}
	for _, m := range list {
		kinds[m.kind]++
	}
	for _, kind := range []string{"error", "log", "description", "page", "script"} {
		assert.Greater(t, kinds[kind], 5, kind)
	}
}
