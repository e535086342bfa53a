// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// namedTest matches a test that a document names, with the folder of its package before a point, none for the root.
var namedTest = regexp.MustCompile("`(?:([a-z][a-z0-9/]*)\\.)?((?:Test|Fuzz)[A-Za-z0-9_]+)`")

// Documents name tests as their proof: each of them exists.
func TestNamedTestsExist(t *testing.T) {
	for _, document := range []string{"docs/security.md", "docs/mutation.md"} {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		named := namedTest.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, named, document)
		for _, m := range named {
			folder, test := "./"+m[1], m[2]
			assert.True(t, hasTest(t, folder, test), "%s names %s, which is not in folder %s", document, test, folder)
		}
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(folder + "/*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
