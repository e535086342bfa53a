// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/memory"
)

// queryParts make queries that nobody should ask.
var queryParts = []string{
	"metric", "where", "group_by", "order", "limit", "cursor", "=", "==", "!=", "~", "!", "&", ";", "%", "%00", "%ff", "%ed%a0%80", `%22`, `"`, "\\", "http.requests",
	"nothing.yet", "code", "route", "resource.service.name", "attribute.", "resource.", "attribute.resource.code", "total", "rate_10s", "key", "1", "-1", "1e3", "99999999999999999999",
	"eyJxIjowfQ", "+", "%20", "%e2%80%ae", "null", "[]", "{}", strings.Repeat("a", 5000), "%F0%9F%92%A9", "0x10", "٣", "NaN",
}

// Whatever is asked, of two consoles over one store, the answer is JSON or a page that Prometheus can read, and never
// that the console has failed.
func TestOddQueries(t *testing.T) {
	random := evidence.Random(evidence.Seed(t))
	store := shop()
	consoles := []*running{start(t, store), start(t, store)}
	for range evidence.Rounds(1500, 50_000) {
		r := consoles[random.IntN(2)]
		path := []string{"/api/v1/totals?", "/api/v1/totals?metric=http.requests&", "/api/v1/overflow?", "/api/v1/overflow?metric=http.requests&", "/api/v1/metrics?", "/api/v1/health?"}[random.IntN(6)]
		path += oddQuery(random)
		code, header, body := r.raw(t, path, nil)
		assert.Less(t, code, 500, "%q", path)
		assert.Equal(t, "application/json", header.Get("Content-Type"), "%q", path)
		assert.True(t, json.Valid(body) && utf8.Valid(body), "%q: %q", path, body)
	}
	for range evidence.Rounds(300, 10_000) {
		r := consoles[random.IntN(2)]
		accept := oddAccept(random)
		code, header, body := r.raw(t, "/metrics", http.Header{"Accept": {accept}})
		require.Equal(t, 200, code, "%q", accept)
		if strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
			require.NoError(t, err, "%q", accept)
			assert.Len(t, families, 3, "%q", accept)
		} else {
			assert.True(t, strings.HasSuffix(string(body), "# EOF\n"), "%q", accept)
		}
	}
}

func oddQuery(random *rand.Rand) string {
	var q strings.Builder
	for range random.IntN(12) {
		q.WriteString(queryParts[random.IntN(len(queryParts))])
	}
	return q.String()
}

func oddAccept(random *rand.Rand) string {
	parts := []string{
		"application/openmetrics-text", "text/plain", "*/*", ";", ",", "version=1.0.0", "version=0.0.4", "version=9", "escaping=allow-utf-8", "escaping=dots", "escaping=values",
		"escaping=underscores", "escaping=x", "q=0.5", "q=-1", "q=NaN", " ", "application/vnd.google.protobuf", "proto=io.prometheus.client.MetricFamily", "charset=utf-8", `"`, "=", "encoding=delimited",
	}
	var a strings.Builder
	for range random.IntN(8) {
		a.WriteString(parts[random.IntN(len(parts))])
	}
	return a.String()
}

// raw is do for what is no address by the rules.
func (r *running) raw(t testing.TB, path string, header http.Header) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url, http.NoBody)
	require.NoError(t, err)
	before, query, _ := strings.Cut(path, "?")
	request.URL = &url.URL{Scheme: "http", Host: r.address, Path: before, RawQuery: strings.ReplaceAll(query, " ", "+")}
	for name, values := range header {
		request.Header[name] = values
	}
	return r.send(t, request)
}

// An error lists no more names than a client can use, however many a store has.
func TestErrorsAreShort(t *testing.T) {
	store := memory.New()
	for i := range 3 * maxListed {
		store.Inc(fmt.Sprintf(`["metric-%d",{},{"name-%d":1}]`, i, i))
		store.Inc(fmt.Sprintf(`["metric-0",{},{"name-%d":1}]`, i))
	}
	r := start(t, store)
	for path, code := range map[string]int{
		"/api/v1/totals": 400, "/api/v1/totals?metric=x": 404, "/api/v1/overflow?metric=x": 404, "/api/v1/live?metric=x": 404, "/api/v1/totals?metric=metric-0&group_by=x": 400,
	} {
		assert.Len(t, refused(t, r, path, code).Allowed, maxListed, path)
	}
}
