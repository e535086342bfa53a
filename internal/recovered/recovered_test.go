// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package recovered

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCall(t *testing.T) {
	require.NoError(t, Call(func() error { return nil }))
	assert.Equal(t, io.EOF, Call(func() error { return io.EOF }))
	err := Call(func() error { panic("a secret") })
	require.ErrorIs(t, err, ErrPanic)
	assert.Contains(t, err.Error(), "panicked: string\n")
	assert.Contains(t, err.Error(), "recovered_test.go")
	assert.NotContains(t, err.Error(), "secret")
}
