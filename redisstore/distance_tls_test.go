// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/redistest"
)

// TestFault_redis_far_certificate: the server's certificate is not one to trust, for any reason, for a while. Those who
// connect meanwhile, or again, are told why; none loses a count; and all arrive when the certificate is renewed.
func TestFault_redis_far_certificate(t *testing.T) {
	server, authority := redistest.Start(t), redistest.NewAuthority(t)
	now := time.Now()
	hours := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	random := evidence.Random(evidence.Seed(t))
	proxy := away(t, server.ServeTLS(authority, "127.0.0.1", hours(-1), hours(1)), distance)
	cfg := testConfig(proxy.Addr())
	cfg.TLS.Insecure, cfg.TLS.CAFile = false, authority.CAFile
	e, lines, host := openWatched(t, cfg)
	l := startLoad(t, open(t, testConfig(server.Near())).store, false)
	l.count(e.store)
	stores := []*redisStore{e.store}
	kinds := []struct {
		spoil func()
		words string
	}{
		{func() { server.ServeTLS(authority, "127.0.0.1", hours(-10_000), hours(-1-random.IntN(9000))) }, "certificate has expired"},
		{func() { server.ServeTLS(authority, "127.0.0.1", hours(1+random.IntN(9000)), hours(10_000)) }, "is not yet valid"},
		{func() { server.ServeTLS(authority, "127.0.0.9", hours(-1), hours(1)) }, "not 127.0.0.1"},
		{func() { server.ServeTLS(redistest.NewAuthority(t), "127.0.0.1", hours(-1), hours(1)) }, "unknown authority"},
	}
	rounds := evidence.Rounds(len(kinds), 40)
	for i := range rounds {
		kind := kinds[i%len(kinds)]
		kind.spoil()
		proxy.Cut() // connections that are there stay, whatever becomes of the certificate
		awaitError(t, host, kind.words)
		late, told, itsHost := openWatched(t, cfg)
		late.store.Add(`["m",{},{"n":0}]`, 7)
		l.bounds.Attempt(7)
		stores = append(stores, late.store)
		awaitError(t, itsHost, kind.words)
		assertTold(t, told, "does not take the counts. Counting goes on", "class:tls", kind.words)
		server.ServeTLS(authority, "127.0.0.1", hours(-1), hours(1))
		awaitOK(t, host)
		awaitOK(t, itsHost)
	}
	assert.NotEmpty(t, lines.All())
	l.settle(stores...)
	require.Equal(t, int64(0), e.store.writer.waiting.Load())
	evidence.Report(t, evidence.Figure{
		Rows: []int{54}, Claim: "the server's certificate expires, is of another time, name or authority, and is renewed: exact", Rounds: rounds,
		Fired:  int(e.store.writer.numbers.copy(e.store.writer.numbers.failures)["tls"]),
		Counts: l.bounds.Summary().Attempted, Note: l.bounds.Summary().String(),
	})
}
