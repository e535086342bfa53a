// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAssetsAreSmall(t *testing.T) {
	total := 0
	require.NoError(t, fs.WalkDir(assets, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := assets.ReadFile(path)
		total += len(content)
		assert.NotContains(t, string(content), "innerHTML", path)
		assert.NotContains(t, strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", ""), "://", "%s names another host", path)
		return err
	}))
	t.Logf("%d bytes", total)
	assert.Less(t, total, 200_000)
}
