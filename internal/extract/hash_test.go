// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// TestHasher has test cases 6 and 7 of RFC 4231, whose keys are long enough for the configuration, and texts around a
// chunk's length.
func TestHasher(t *testing.T) {
	h := newHasher(bytes.Repeat([]byte{0xaa}, 131))
	for text, want := range map[string]string{
		"Test Using Larger Than Block-Size Key - Hash Key First": "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
		"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.": "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
	} {
		assert.Equal(t, serieskey.AppendCompactString(nil, want, 0), h.append(nil, text, false))
	}
	seen := map[string]bool{}
	for _, n := range []int{0, 1, 511, 512, 513, 1024, 100_000} {
		one, other := string(h.append(nil, strings.Repeat("x", n), false)), string(h.append(nil, strings.Repeat("x", n)+"y", false))
		assert.False(t, seen[one] || seen[other], n)
		seen[one], seen[other] = true, true
	}
	assert.Zero(t, h.chunk, "nothing of the logs is kept")
	assert.Nil(t, newHasher(nil))
}

func BenchmarkHasher(b *testing.B) {
	h := newHasher(bytes.Repeat([]byte{0xaa}, 32))
	dst := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = h.append(dst[:0], "alice@example.com", false)
	}
}
