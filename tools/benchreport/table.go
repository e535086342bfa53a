// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// table is a table of Markdown.
type table struct {
	head []string // a colon at the end of a heading has its column flush right
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String returns the Markdown. A table without rows is what was not measured.
func (t *table) String() string {
	if len(t.rows) == 0 {
		return "This was " + notMeasured + ".\n"
	}
	var text strings.Builder
	var head, rule []string
	for _, h := range t.head {
		name, right := strings.CutSuffix(h, ":")
		head = append(head, name)
		if right {
			rule = append(rule, "---:")
		} else {
			rule = append(rule, "---")
		}
	}
	writeRow(&text, head)
	writeRow(&text, rule)
	for _, row := range t.rows {
		writeRow(&text, row)
	}
	return text.String()
}

func writeRow(text *strings.Builder, cells []string) {
	for _, cell := range cells {
		text.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	text.WriteString("|\n")
}
