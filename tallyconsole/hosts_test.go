// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A host that the configuration allows, however it is written there, is allowed as browsers write it, and no other is.
func TestHostsHoweverWritten(t *testing.T) {
	for range 500 {
		asBrowsersDo, written := anyHost()
		cfg := testConfig(func(c *Config) { c.AllowedHosts = []string{written} })
		inEndpoint := rand.IntN(2) == 0
		if inEndpoint {
			cfg.AllowedHosts = nil
			cfg.Server.NetAddr.Endpoint = endpointOf(written)
		}
		require.NoError(t, cfg.Validate(), written)
		hosts := allowedHosts(cfg)
		for _, port := range []string{"", ":80", ":13690"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = asBrowsersDo + port
			assert.True(t, hosts[hostOf(r)], "%q is %q, in endpoint: %v", written, r.Host, inEndpoint)
			r.Host = "x" + asBrowsersDo + port
			assert.False(t, hosts[hostOf(r)], "%q", r.Host)
		}
	}
	assert.ErrorContains(t, testConfig(func(c *Config) { c.AllowedHosts = []string{"bücher.example"} }).Validate(),
		"`allowed_hosts::0` must be in ASCII, as browsers send it (xn--...), found \"bücher.example\"")
}

func endpointOf(host string) string {
	host = strings.Trim(host, "[]")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":13690"
}

// anyHost returns a host as browsers send it and as somebody may write it.
func anyHost() (asBrowsersDo, written string) {
	switch rand.IntN(3) {
	case 0:
		var bytes [16]byte
		for i := range bytes {
			if rand.IntN(2) == 0 {
				bytes[i] = byte(rand.IntN(256))
			}
		}
		a := netip.AddrFrom16(bytes)
		written = a.String()
		if rand.IntN(2) == 0 {
			written = a.StringExpanded()
		}
		if rand.IntN(2) == 0 {
			written = strings.ToUpper(written)
		}
		if rand.IntN(2) == 0 {
			written = "[" + written + "]"
		}
		return "[" + a.String() + "]", written
	case 1:
		host := fmt.Sprintf("%d.%d.%d.%d", 1+rand.IntN(255), rand.IntN(256), rand.IntN(256), rand.IntN(256))
		return host, host
	default:
		host := fmt.Sprintf("host-%d.example", rand.IntN(1000))
		written = host
		if rand.IntN(2) == 0 {
			written = strings.ToUpper(written)
		}
		if rand.IntN(2) == 0 {
			written += "."
		}
		return host, written
	}
}
