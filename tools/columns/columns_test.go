// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/format"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomSource writes a Go file with comments of any width: running text, lists, directives, code, and those after
// code.
func randomSource(random *rand.Rand) string {
	var s strings.Builder
	s.WriteString("package p\n")
	text := func(most int) string {
		var words []string
		for range random.IntN(most) {
			words = append(words, strings.Repeat(string([]rune("aé日")[random.IntN(3)]), 1+random.IntN(30)))
		}
		return strings.Join(words, " ")
	}
	for n := range random.IntN(6) {
		for range random.IntN(4) {
			fmt.Fprintf(&s, "//%s%s\n", []string{" ", " ", " ", " - ", "\t", "nolint:x // "}[random.IntN(6)], text(20))
		}
		fmt.Fprintf(&s, "var v%d = `// %s` // %s\n", n, text(12), text(20))
	}
	return s.String()
}

// parts returns the words of the comments of each declaration, those above it and that behind it, and the code without
// comments.
func parts(t *testing.T, source string) (words, code []string) {
	t.Helper()
	var above []string
	for line := range strings.Lines(source) {
		c, found := scanned(inGo, []byte(line))[1]
		above = append(above, strings.Fields(strings.ReplaceAll(c.text, "//", " "))...)
		if !found || !c.alone {
			slices.Sort(above) // what was behind is above now
			words = append(words, strings.Join(above, " "))
			code = append(code, strings.TrimSpace(strings.TrimSuffix(line, c.text+"\n")))
			above = nil
		}
	}
	return append(words, above...), code
}

// Whatever the comments are: afterwards none is too wide, each word is at its declaration still, the code is what it
// was, and a second run changes nothing.
func TestWrap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it keeps no secrets
	wrapped := 0
	for range 2000 {
		source := randomSource(random)
		got := string(inGo.wrap([]byte(source)))
		if wide := inGo.tooWide([]byte(got)); len(wide) > 0 {
			t.Fatalf("too wide: %v\n%s", wide, got)
		}
		oldWords, oldCode := parts(t, source)
		newWords, newCode := parts(t, got)
		if !slices.Equal(oldWords, newWords) || !slices.Equal(oldCode, newCode) {
			t.Fatalf("from\n%s\nto\n%s", source, got)
		}
		if again := string(inGo.wrap([]byte(got))); again != got {
			t.Fatalf("from\n%s\nto\n%s", got, again)
		}
		if _, err := format.Source([]byte(got)); err != nil {
			t.Fatal(err)
		}
		if got != source {
			wrapped++
		}
	}
	if wrapped < 100 {
		t.Fatalf("only %d files had wide comments", wrapped)
	}
}

func TestHash(t *testing.T) {
	long := strings.Repeat("word ", 30)
	got := string(hash.wrap([]byte("#!/bin/sh " + long + "\n  # " + long + "end\n  # next\nkey: " + long + "# " + long + "\n")))
	want := "#!/bin/sh " + long + "\n  # " + strings.TrimSpace(strings.Repeat("word ", 23)) +
		"\n  # " + strings.Repeat("word ", 7) + "end next\nkey: " + long + "# " + long + "\n"
	if got != want {
		t.Fatalf("%s\nis not\n%s", got, want)
	}
}
