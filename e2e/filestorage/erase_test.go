// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package filestorage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/memorystore"
)

// After an erasure and a compaction of file_storage, its file has nothing of what was erased.
func TestErase(t *testing.T) {
	directory := t.TempDir()
	holds := func(text string) bool {
		files, err := filepath.Glob(filepath.Join(directory, "*"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		data, err := os.ReadFile(files[0])
		require.NoError(t, err)
		return bytes.Contains(data, []byte(text))
	}
	i := start(t, fileStorage(t, directory))
	for n := range 1000 {
		i.store.Inc(fmt.Sprintf(`["m",{},{"route":"/a","user":"user-%d."}]`, n))
	}
	i.stop(t)
	require.True(t, holds("user-500."))
	i = start(t, fileStorage(t, directory), func(c *memorystore.Config) { c.Erase = []map[string]any{{"user": "user-500."}} })
	i.stop(t)

	i = start(t, fileStorage(t, directory, func(c *filestorage.Config) { c.Compaction.OnStart, c.Compaction.Directory = true, t.TempDir() }))
	assert.Len(t, i.values(t), 999)
	i.stop(t)
	assert.False(t, holds("user-500."))
	assert.True(t, holds("user-501."))
}
