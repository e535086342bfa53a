// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFilesAreForTheirOwner: what is kept on disk holds keys, which are log content. Even where the umask allows all to
// everybody, the files are for their owner alone, and the folder is closed to who is in no group of his.
func TestFilesAreForTheirOwner(t *testing.T) {
	r := newRig(t)
	r.directory = filepath.Join(r.directory, "state")
	r.storage = ", create_directory: true"
	c := startUnder(t, []string{"sh", "-c", `umask 0; exec "$@"`, "sh"}, "", r.config())
	require.True(t, post(r.in, marshal(t, logsWith(sender, []string{"alice"}))))
	require.Zero(t, c.terminate(t))

	files := 0
	require.NoError(t, filepath.WalkDir(r.directory, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if entry.IsDir() {
			assert.Zero(t, info.Mode().Perm()&0o027, "%s is %s", path, info.Mode())
			return nil
		}
		files++
		assert.Zero(t, info.Mode().Perm()&0o077, "%s is %s", path, info.Mode())
		return nil
	}))
	assert.Positive(t, files)
	assert.Equal(t, map[string]int{"alice": 1}, readState(t, r.directory))
}
