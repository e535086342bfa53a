// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"go/scanner"
	"go/token"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	width = 120 // columns
	tab   = 4   // columns of a tab
)

var (
	generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	// verbatim starts a comment that is not running text: a directive, code, an item of a list, an empty line.
	verbatim = regexp.MustCompile(`^(//|#)([a-z]+:|!|\t| {2,}| [-*#|]|$| \d+\.)`)
)

// language is how a kind of file writes its comments.
type language struct {
	marker   string                                   // what a comment begins with
	comments func(l language, source []byte) comments // those of a file
}

var (
	inGo = language{"//", scanned}
	hash = language{"#", leading}
)

func isGenerated(source []byte) bool { return generated.Match(source) }

// comment is one that ends with its line.
type comment struct {
	text  string // from its marker on
	alone bool   // there is no code before it
}

// comments are those of a file by line, from 1.
type comments map[int]comment

// columns returns how wide a text is when it begins at the first column.
func columns(text string) int {
	return utf8.RuneCountInString(text) + (tab-1)*strings.Count(text, "\t")
}

// scanned returns the comments of a Go file.
func scanned(l language, source []byte) comments {
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, scanner.ScanComments)
	found := comments{}
	for {
		at, kind, text := s.Scan()
		if kind == token.EOF {
			return found
		}
		if kind == token.COMMENT && strings.HasPrefix(text, l.marker) {
			position := set.Position(at)
			before := source[position.Offset-position.Column+1 : position.Offset]
			found[position.Line] = comment{text, len(bytes.TrimSpace(before)) == 0}
		}
	}
}

// leading returns the comments of a file that have a line of their own.
func leading(l language, source []byte) comments {
	found := comments{}
	for n, line := range strings.Split(string(source), "\n") {
		if text := strings.TrimLeft(line, " \t"); strings.HasPrefix(text, l.marker) {
			found[n+1] = comment{text, true}
		}
	}
	return found
}

func indentOf(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

// tooWide returns the lines with a comment that goes beyond the width, unless that cannot be broken: a word is too long
// for the line, or the comment is a directive or an example.
func (l language) tooWide(source []byte) (wide []int) {
	all := l.comments(l, source)
	for n, line := range strings.Split(string(source), "\n") {
		c, found := all[n+1]
		if found && columns(line) > width && !verbatim.MatchString(c.text) && strings.Contains(l.words(c.text), " ") {
			wide = append(wide, n+1)
		}
	}
	return wide
}

// words returns the text of a comment without its marker.
func (l language) words(text string) string {
	return strings.TrimLeft(strings.TrimPrefix(text, l.marker), " ")
}

// wrap returns a source whose comments are broken where they are too wide. What does not fit goes before the next line
// of the same paragraph. A comment after code that does not fit is put on lines of its own above it.
func (l language) wrap(source []byte) []byte {
	w := wrapper{language: l}
	all := l.comments(l, source)
	wide := map[int]bool{}
	for _, n := range l.tooWide(source) {
		wide[n] = true
	}
	for n, line := range strings.Split(string(source), "\n") {
		c := all[n+1]
		if c.alone && !verbatim.MatchString(c.text) {
			w.text(line, wide[n+1])
			continue
		}
		w.finish()
		if wide[n+1] {
			w.text(indentOf(line)+c.text, true)
			w.finish()
			line = strings.TrimRight(strings.TrimSuffix(line, c.text), " \t")
		}
		w.lines = append(w.lines, line)
	}
	w.finish()
	return []byte(strings.Join(w.lines, "\n"))
}

// wrapper collects the lines of a file.
type wrapper struct {
	language
	lines []string
	rest  string // what did not fit into the last of them, which is a comment
}

// text adds a line of running text, after what did not fit into the one before.
func (w *wrapper) text(line string, wide bool) {
	if w.rest != "" {
		line = indentOf(line) + w.marker + " " + w.rest + " " + w.words(strings.TrimLeft(line, " \t"))
		wide = true
	}
	if w.rest = ""; wide {
		line, w.rest = w.split(line)
	}
	w.lines = append(w.lines, line)
}

// finish adds what did not fit as lines of their own.
func (w *wrapper) finish() {
	for w.rest != "" {
		rest := w.rest
		w.rest = ""
		w.text(indentOf(w.lines[len(w.lines)-1])+w.marker+" "+rest, true)
	}
}

// split cuts a comment at the last space within the width, or the first one behind it, and returns what is left.
func (l language) split(line string) (first, rest string) {
	cut := len(line)
	if columns(line) > width {
		for at := len(line) - len(l.words(strings.TrimLeft(line, " \t"))); at < len(line); at++ {
			if line[at] == ' ' && (cut == len(line) || columns(line[:at]) <= width) {
				cut = at
			}
		}
	}
	return line[:cut], strings.TrimLeft(line[cut:], " ")
}
