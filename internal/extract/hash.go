// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// hasher replaces values by their HMAC-SHA256 (RFC 2104, FIPS 180-4) under a key. It is serial.
type hasher struct {
	mac   hash.Hash
	chunk [512]byte
	sum   [sha256.Size]byte
	text  [2 * sha256.Size]byte
}

// newHasher returns nil for a nil key.
func newHasher(key []byte) *hasher {
	if key == nil {
		return nil
	}
	return &hasher{mac: hmac.New(sha256.New, key)}
}

// append appends the hash of a value's text in compact form: 64 hexadecimal digits, which no limit cuts. The text of a
// string is all of it, at any length; that of a list, a map or bytes is serieskey.Text, which may be cut: then the hash
// counts as a cut value.
func (h *hasher) append(dst []byte, value string, wasCut bool) []byte {
	h.mac.Reset()
	for len(value) > 0 {
		n := copy(h.chunk[:], value)
		h.mac.Write(h.chunk[:n])
		value = value[n:]
	}
	clear(h.chunk[:]) // keeps nothing of the logs
	hex.Encode(h.text[:], h.mac.Sum(h.sum[:0]))
	return serieskey.AppendCompactCut(dst, string(h.text[:]), wasCut)
}
