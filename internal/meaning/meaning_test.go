package meaning

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClaims(t *testing.T) {
	var c Claims
	records, bytes := Meaning{"{record}", "records"}, Meaning{"By", "bytes"}
	first, err := c.Claim("m", records)
	require.NoError(t, err)
	second, err := c.Claim("m", records)
	require.NoError(t, err, "two that add up the same")
	for _, other := range []Meaning{bytes, {"By", "records"}, {"{record}", "bytes"}} {
		_, err = c.Claim("m", other)
		require.ErrorIs(t, err, ErrOther)
		assert.ErrorContains(t, err, other.String())
		assert.ErrorContains(t, err, records.String())
	}
	_, err = c.Claim("n", bytes)
	require.NoError(t, err, "another metric")
	first()
	first()
	_, err = c.Claim("m", bytes)
	require.ErrorIs(t, err, ErrOther, "one is left, however often the other has let go")
	second()
	_, err = c.Claim("m", bytes)
	require.NoError(t, err)
}

func TestWhatIsNotKnown(t *testing.T) {
	assert.False(t, Meaning{Unit: "1"}.Differs(Meaning{"By", "bytes"}))
	assert.False(t, Meaning{"By", "bytes"}.Differs(Meaning{}))
}
