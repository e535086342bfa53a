// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/tools/docs/options"
)

// The page in docs is the one that the comments and defaults make.
func TestPageIsUpToDate(t *testing.T) {
	components, err := options.Components("../../..")
	require.NoError(t, err)
	made := page(components)
	kept, err := os.ReadFile("../../../docs/configuration.md")
	require.NoError(t, err)
	assert.Equal(t, made, string(kept), "`make generate` writes it")
}

// A row has its cells, whatever is in them.
func TestRow(t *testing.T) {
	for _, o := range []options.Option{
		{Path: []string{"a", "b"}, Type: "string", Default: "`a|b`", Valid: "x", Text: "Text."},
		{Path: []string{"a"}, Elsewhere: "all of [x](y)"},
		{Elsewhere: "all others"},
	} {
		made := row(o)
		assert.Equal(t, 6, strings.Count(strings.ReplaceAll(made, `\|`, ""), "|"), made)
	}
}
