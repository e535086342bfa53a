// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// problem is a fault of a page.
type problem struct {
	path string // of the page, from the project's folder on
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.path, p.line, p.text) }

// piece is a part of a page: a link's target, the text of a code span, or a line.
type piece struct {
	line int
	text string
}

// block is a fenced block.
type block struct {
	line     int // its first line, after the fence
	language string
	text     string
	mark     string // a comment `<!-- part: PATH -->` or `<!-- part: none -->` on the line before
}

// page is a page of Markdown.
type page struct {
	path    string
	lines   []string
	anchors map[string]bool
	links   []piece
	spans   []piece // of code
	blocks  []block
	options []piece // names of options in the first column of a table that has them
}

var (
	fence   = regexp.MustCompile("^ *(```+|~~~+) *([A-Za-z]*)( +[A-Za-z0-9_ -]+)?$")
	mark    = regexp.MustCompile(`^ *<!-- part: (\S+) -->$`)
	heading = regexp.MustCompile(`^#{1,6} +(.*?)[ #]*$`)
	anchor  = regexp.MustCompile(`<[a-z0-9]+ (?:id|name)="([^"]+)"`)
	code    = regexp.MustCompile("`+[^`]+`+")
	link    = regexp.MustCompile(`\]\(<?([^)\s<>]+)>?(?:\s+"[^"]*")?\)|(?m)^ *\[[^\]]+\]:\s+([^\s<>]+)|(?:src|href)="([^"]+)"`)
)

func readPage(root, path string) (page, error) {
	text, err := os.ReadFile(root + "/" + path)
	if err != nil {
		return page{}, err
	}
	return parsePage(path, string(text)), nil
}

func parsePage(path, text string) page {
	p := page{path: path, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n"), anchors: map[string]bool{}}
	prose := p.takeBlocks()
	p.takeHeadings(prose)
	p.takeTables(prose)
	joined := strings.Join(prose, "\n")
	plain := code.ReplaceAllStringFunc(joined, blank)
	for _, m := range code.FindAllStringIndex(joined, -1) {
		p.spans = append(p.spans, piece{lineAt(joined, m[0]), strings.Trim(joined[m[0]:m[1]], "`")})
	}
	for _, m := range link.FindAllStringSubmatchIndex(plain, -1) {
		for group := 2; group < len(m); group += 2 {
			if m[group] >= 0 {
				p.links = append(p.links, piece{lineAt(plain, m[0]), plain[m[group]:m[group+1]]})
			}
		}
	}
	return p
}

// takeBlocks collects the fenced blocks and returns the page without them, as many lines.
func (p *page) takeBlocks() []string {
	prose := make([]string, len(p.lines))
	var open string
	var b block
	for i, line := range p.lines {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == "" && m == nil:
			prose[i] = line
		case open == "":
			open, b = m[1], block{line: i + 2, language: m[2]}
			if strings.TrimSpace(m[3]) != "" { // a test of the page knows what to do with it
				b.mark = "none"
			}
			if i > 0 {
				if m := mark.FindStringSubmatch(p.lines[i-1]); m != nil {
					b.mark = m[1]
				}
			}
		case m != nil && m[2] == "" && strings.HasPrefix(m[1], open):
			p.blocks = append(p.blocks, b)
			open = ""
		default:
			b.text += line + "\n"
		}
	}
	return prose
}

// takeHeadings collects the names that links can have behind `#`.
func (p *page) takeHeadings(prose []string) {
	times := map[string]int{}
	for _, line := range prose {
		if m := heading.FindStringSubmatch(line); m != nil {
			name := slug(m[1])
			if n := times[name]; n > 0 {
				p.anchors[fmt.Sprintf("%s-%d", name, n)] = true
			} else {
				p.anchors[name] = true
			}
			times[name]++
		}
		for _, m := range anchor.FindAllStringSubmatch(line, -1) {
			p.anchors[m[1]] = true
		}
	}
}

var linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// slug returns the name that GitHub gives to a heading.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(linkText.ReplaceAllString(text, "$1")) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsMark(r), unicode.IsNumber(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// takeTables collects what tables of options have in their first column.
func (p *page) takeTables(prose []string) {
	inTable := false
	for i, line := range prose {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			inTable = false
			continue
		}
		first := strings.TrimSpace(cells[1])
		if first == "option" {
			inTable = true
			continue
		}
		for _, m := range code.FindAllString(first, -1) {
			if inTable {
				p.options = append(p.options, piece{i + 1, strings.Trim(m, "`")})
			}
		}
	}
}

// blank returns a text of the same length and lines without anything.
func blank(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Repeat(" ", len(line))
	}
	return strings.Join(lines, "\n")
}

func lineAt(text string, offset int) int { return strings.Count(text[:offset], "\n") + 1 }
