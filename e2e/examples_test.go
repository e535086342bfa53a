// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// localPort is an address on this machine in a configuration.
var localPort = regexp.MustCompile(`(localhost|127\.0\.0\.1):\d+`)

// Every example runs as it is, but for its ports, and has no component id or setting that this Collector calls
// deprecated.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			ports := map[string]string{} // the same port stays the same
			config := localPort.ReplaceAllStringFunc(string(text), func(address string) string {
				if ports[address] == "" {
					ports[address] = fmt.Sprintf("localhost:%d", freePort(t))
				}
				return ports[address]
			})
			c := startCollector(t, "", strings.ReplaceAll(config, "./tally-state", t.TempDir()))
			assert.NotContains(t, strings.ToLower(c.readLog(t)), "deprecat")
		})
	}
}
