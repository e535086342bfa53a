// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Outgoing connections have ports from 32768 on: one of them must not be able to stop the console from starting.
func TestDefaultPortIsNoOutgoingOne(t *testing.T) {
	_, text, err := net.SplitHostPort(createDefaultConfig().(*Config).Server.NetAddr.Endpoint)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	assert.Greater(t, port, 1023)
	assert.Less(t, port, 32768)
}
