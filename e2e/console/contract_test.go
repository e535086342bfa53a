// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
)

// contract is the document that the console serves.
func contract(t *testing.T, r *running) routers.Router {
	t.Helper()
	code, header, text := r.get(t, "/api/v1/openapi.yaml")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "application/yaml", header.Get("Content-Type"))
	document, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	require.NoError(t, document.Validate(t.Context()))
	router, err := legacy.NewRouter(document)
	require.NoError(t, err)
	return router
}

// check validates an answer, and the question unless it is bad.
func check(t *testing.T, r *running, router routers.Router, path string, want int) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	require.NoError(t, err)
	route, parameters, err := router.FindRoute(mustRequest(t, path))
	require.NoError(t, err, path)
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route}
	if want < http.StatusBadRequest {
		require.NoError(t, openapi3filter.ValidateRequest(t.Context(), input), path)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, want, response.StatusCode, "%s: %s", path, body)
	return openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true},
	})
}

func mustRequest(t *testing.T, path string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	require.NoError(t, err)
	return request
}

// TestAnswersKeepTheContract: what the document says of answers is so.
func TestAnswersKeepTheContract(t *testing.T) {
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringDateTime))
	full, away := newFragile(shop(), -1), newFragile(tallyprocessor.NewMemoryStore(), 0)
	paths := map[string]int{
		"/api/v1/metrics": 200, "/api/v1/health": 200, totalsPath(): 200, totalsPath("group_by=code", "where=route"): 200,
		totalsPath("order=rate_1m", "limit=1"): 200, "/api/v1/totals?metric=nothing.yet": 200,
		"/api/v1/overflow?metric=http.requests&limit=1": 200, "/metrics": 200, "/api/v1/totals": 400, totalsPath("limit=0"): 400,
		"/api/v1/totals?metric=x": 404, "/api/v1/overflow": 400, "/api/v1/live?metric=x": 404, "/api/v1/health?x": 400, "/api/v1/metrics?x": 400,
	}
	for name, store := range map[string]store.MetricStore{"full": full, "empty": tallyprocessor.NewMemoryStore(), "away": away} {
		t.Run(name, func(t *testing.T) {
			r := start(t, store)
			router := contract(t, r)
			for path, want := range paths {
				if name != "full" && mustRequest(t, path).URL.Query().Has("metric") {
					continue
				}
				assert.NoError(t, check(t, r, router, path, want), path)
			}
			if name == "full" {
				full.after.Store(3)
				r.settled(t)
				assert.NoError(t, check(t, r, router, totalsPath(), 200))
				expired := base64.RawURLEncoding.EncodeToString([]byte(`{"q":0,"m":1,"k":["a"]}`)) // of 1970
				assert.NoError(t, check(t, r, router, totalsPath("cursor="+expired), 410))
			}
		})
	}
}
