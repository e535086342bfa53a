// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/logtally/tallyprocessor"

// imports returns which packages of this module each of them imports without its tests, "" for the root.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	require.NoError(t, err)
	own := func(path string) (string, bool) {
		rest, ok := strings.CutPrefix(path, module)
		return strings.TrimPrefix(rest, "/"), ok
	}
	list := map[string][]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return list
		}
		name, _ := own(p.ImportPath)
		list[name] = []string{}
		for _, path := range p.Imports {
			if imported, ours := own(path); ours {
				list[name] = append(list[name], imported)
			}
		}
	}
}

// Each floor uses only the floors below it, as docs/architecture.md has them.
func TestWhoMayImportWhom(t *testing.T) {
	extensions := []string{"memorystore", "redisstore", "tallyconsole"}
	readers := append([]string{"tallyreceiver"}, extensions...)
	list := imports(t)
	require.Contains(t, list, "store")
	require.Contains(t, list, "")
	for from, imported := range list {
		top, _, _ := strings.Cut(from, "/")
		for _, to := range imported {
			what := from + " imports " + to
			toTop, _, isInside := strings.Cut(to, "/")
			if slices.Contains(extensions, toTop) || toTop == "tallyreceiver" || toTop == "tallyconnector" {
				assert.Equal(t, top, toTop, "%s: nothing imports an extension, the receiver or the connector", what)
				assert.True(t, isInside, what)
			}
			switch {
			case from == "store":
				assert.Fail(t, "the contract imports nothing of ours", what)
			case top == "internal":
				assert.Contains(t, []string{"internal", "store"}, toTop, what)
			case slices.Contains(readers, top):
				assert.NotEmpty(t, to, "%s: stores, receiver and console do not import the processor", what)
			}
		}
	}
}
