// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package meaning

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClaims(t *testing.T) {
	var c Claims
	begun := 0
	claim := func(metric string, m Meaning) (release func(), err error) {
		shared, release, err := c.Claim(metric, m, func() any { begun++; return begun })
		if err == nil && metric == "m" {
			assert.Equal(t, begun, shared)
		}
		return release, err
	}
	records, bytes := Meaning{"{record}", "records"}, Meaning{"By", "bytes"}
	first, err := claim("m", records)
	require.NoError(t, err)
	second, err := claim("m", records)
	require.NoError(t, err, "two that add up the same")
	for _, other := range []Meaning{bytes, {"By", "records"}, {"{record}", "bytes"}} {
		_, err = claim("m", other)
		require.ErrorIs(t, err, ErrOther)
		assert.ErrorContains(t, err, other.String())
		assert.ErrorContains(t, err, records.String())
	}
	assert.Equal(t, 1, begun, "they have the same in common")
	first()
	first()
	_, err = claim("m", bytes)
	require.ErrorIs(t, err, ErrOther, "one is left, however often the other has let go")
	second()
	_, err = claim("m", bytes)
	require.NoError(t, err)
	assert.Equal(t, 2, begun)
	_, err = claim("n", records)
	require.NoError(t, err, "another metric")
	assert.Equal(t, 3, begun)
}

func TestWhatIsNotKnown(t *testing.T) {
	assert.False(t, Meaning{Unit: "1"}.Differs(Meaning{"By", "bytes"}))
	assert.False(t, Meaning{"By", "bytes"}.Differs(Meaning{}))
}
