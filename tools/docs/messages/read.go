// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// ofGo returns the texts of Go code: those of errors and log lines, and whatever else reads as a sentence.
func ofGo(text string) (list []message, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	seen := map[ast.Expr]bool{}
	add := func(kind string, e ast.Expr) {
		if s, ok := literal(e, seen); ok && (kind != "text" || isSentence(s)) {
			list = append(list, message{kind: kind, text: s, line: files.Position(e.Pos()).Line})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.Field:
			return false // paths, and tags
		case *ast.CallExpr:
			if kind := kindOf(n); kind != "" && len(n.Args) > 0 {
				add(kind, n.Args[0])
			}
		case *ast.BinaryExpr:
			add("text", n)
		case *ast.BasicLit:
			add("text", n)
		}
		return true
	})
	return list, nil
}

// literal returns the text of a literal or of several that are added up, unless it was seen before.
func literal(e ast.Expr, seen map[ast.Expr]bool) (string, bool) {
	if seen[e] {
		return "", false
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		seen[e] = true
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		seen[e] = true
		left, isLeft := literal(e.X, seen)
		right, isRight := literal(e.Y, seen)
		return left + right, e.Op == token.ADD && (isLeft || isRight)
	}
	return "", false
}

// kindOf says what the first argument of a call is.
func kindOf(call *ast.CallExpr) string {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	switch f.Sel.Name {
	case "New", "Errorf":
		if x, ok := f.X.(*ast.Ident); ok && (x.Name == "errors" || x.Name == "fmt") {
			return "error"
		}
	case "Debug", "Info", "Warn", "Error":
		return "log"
	}
	return ""
}

// isSentence leaves out names, formats and code.
func isSentence(text string) bool { return len(strings.Fields(text)) >= 3 }

var (
	description = regexp.MustCompile(`^ *description: *(.+)$`)
	tag         = regexp.MustCompile(`<[^>]*>`)
	title       = regexp.MustCompile(`(?:title|placeholder|aria-label)="([^"]+)"`)
	scriptText  = regexp.MustCompile("'([^'\n]*)'|\"([^\"\n]*)\"|`([^`]*)`")
)

// ofMetadata returns the descriptions of metrics and attributes.
func ofMetadata(text string) (list []message, err error) {
	for i, line := range strings.Split(text, "\n") {
		if m := description.FindStringSubmatch(line); m != nil {
			list = append(list, message{kind: "description", text: m[1], line: i + 1})
		}
	}
	return list, nil
}

// ofHTML returns what a page shows.
func ofHTML(text string) (list []message, err error) {
	for i, line := range strings.Split(text, "\n") {
		if s := strings.TrimSpace(tag.ReplaceAllString(line, " ")); s != "" {
			list = append(list, message{kind: "page", text: s, line: i + 1})
		}
		for _, m := range title.FindAllStringSubmatch(line, -1) {
			list = append(list, message{kind: "page", text: m[1], line: i + 1})
		}
	}
	return list, nil
}

// ofScript returns the texts of a script that have a space in them.
func ofScript(text string) (list []message, err error) {
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "//") {
			continue
		}
		for _, m := range scriptText.FindAllStringSubmatch(line, -1) {
			if s := m[1] + m[2] + m[3]; strings.Contains(strings.TrimSpace(s), " ") {
				list = append(list, message{kind: "script", text: s, line: i + 1})
			}
		}
	}
	return list, nil
}
