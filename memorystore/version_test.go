// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

// withVersion changes the version of a blob and makes its checksum right again.
func withVersion(t *testing.T, blob []byte, version uint16) []byte {
	require.Equal(t, uint16(state.Version), binary.BigEndian.Uint16(blob[8:]))
	return changeVersion(blob, version)
}

func changeVersion(blob []byte, version uint16) []byte {
	blob = bytes.Clone(blob[:len(blob)-4])
	binary.BigEndian.PutUint16(blob[8:], version)
	return binary.BigEndian.AppendUint32(blob, crc32.Checksum(blob, crc32.MakeTable(crc32.Castagnoli)))
}
