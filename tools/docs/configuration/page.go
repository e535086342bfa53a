// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/logtally/tallyprocessor/tools/docs/options"
)

const introduction = `<!-- Written by ` + "`make generate`" + ` from the comments and defaults of the config.go files. Change those. -->

# Configuration

Every option of every component, for those who write the configuration of a Collector. [README.md](../README.md) shows how to
begin, [concepts.md](concepts.md) explains the terms, [recipes.md](recipes.md) has complete configurations.

- An option is written as its path: ` + "`queue::on_full`" + ` is ` + "`on_full`" + ` below ` + "`queue`" + `. ` + "`<name>`" + ` stands for a name of
  yours, ` + "`<n>`" + ` for an item of a list.
- A duration has a unit: ` + "`500ms`, `15s`, `24h`" + `. It is at least ` + "`1ms`" + `. A number without a unit is an error, other than 0.
- null keeps the default.
- The Collector reports all errors at once at start, with path and value. ` + "`otelcol-tally validate --config FILE`" + ` reports them
  without a start.
`

// page returns docs/configuration.md.
func page(components []options.Component) string {
	var b strings.Builder
	b.WriteString(introduction)
	for _, c := range components {
		title := c.Title()
		fmt.Fprintf(&b, "\n## %s\n\nIn section `%s`.\n\n", strings.ToUpper(title[:1])+title[1:], c.Section)
		b.WriteString("| option | type | default | valid | meaning |\n|---|---|---|---|---|\n")
		for _, o := range c.Options {
			b.WriteString(row(o))
		}
	}
	return b.String()
}

func row(o options.Option) string {
	name, kind := "`"+o.String()+"`", o.Type
	switch {
	case o.Elsewhere != "" && len(o.Path) > 0:
		kind = o.Elsewhere
	case o.Elsewhere != "":
		name = o.Elsewhere
	}
	return strings.NewReplacer("  |", " |").Replace(fmt.Sprintf("| %s | %s | %s | %s | %s |\n",
		name, kind, cell(o.Default), cell(o.Valid), cell(o.Text)))
}

// cell returns a text that ends no cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
