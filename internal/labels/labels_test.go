// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package labels

import (
	"strings"
	"testing"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

func TestNamesStayApart(t *testing.T) {
	n := NewNamer("processor")
	for _, tt := range []struct{ prefix, name, want, prometheus string }{
		{AttributePrefix, "http.route", "http.route", "http_route"},
		{ResourcePrefix, "http.route", "resource.http.route", "resource_http_route"},
		// as Prometheus writes it, both names before are taken
		{ResourcePrefix, "http_route", "resource.http_route_2", "resource_http_route_2"},
		{AttributePrefix, "processor", "attribute.processor", "attribute_processor"},
		{AttributePrefix, "__name__", "attribute_name_", "attribute_name_"},
		{AttributePrefix, "otel.scope.name", "attribute.otel.scope.name", "attribute_otel_scope_name"},
		{AttributePrefix, "", "attribute.", "attribute_"},
		{ResourcePrefix, "aws:region", "aws_region", "aws_region"}, // what escapes the page lets a colon pass
		{ResourcePrefix, "1a", "key_1a", "key_1a"},                 // and makes _a of it, and of 2a
		{ResourcePrefix, "_a", "key_a", "key_a"},
		{ResourcePrefix, "日本", "key_", "key_"},
		{ResourcePrefix, "a--b", "a_b", "a_b"},
		{ResourcePrefix, "x\x00y", "x_y", "x_y"}, // Prometheus cannot read a NUL, though its client writes it
	} {
		assert.Equal(t, Label{tt.want, tt.prometheus}, n.Name(tt.prefix, tt.name), tt.name)
	}
}

func TestMetricNames(t *testing.T) {
	for _, tt := range []struct{ name, unit, shown, prometheus, total, prometheusTotal string }{
		{"http.requests", "{request}", "http.requests", "http_requests", "http.requests_total", "http_requests_total"},
		{"2xx.count", "", "_2xx_count", "_2xx_count", "_2xx_count_total", "_2xx_count_total"},
		{"été.count", "", "t_count", "t_count", "t_count_total", "t_count_total"},
		{"bytes.seen", "By", "bytes.seen", "bytes_seen", "bytes_seen_total", "bytes_seen_total"},
		{"log.size", "By", "log.size", "log_size", "log.size_bytes_total", "log_size_bytes_total"},
		{"1st", "1", "_1st", "_1st", "_1st_total", "_1st_total"},
		{"a:b", "", "a:b", "a:b", "a:b_total", "a:b_total"},
		{"日本", "", "", "", "total", "total"},
	} {
		shown, prometheus, ok := Metric(tt.name)
		assert.Equal(t, []any{tt.shown, tt.prometheus, tt.prometheus != ""}, []any{shown, prometheus, ok}, tt.name)
		total, prometheusTotal := Total(tt.name, tt.unit)
		assert.Equal(t, []string{tt.total, tt.prometheusTotal}, []string{total, prometheusTotal}, tt.name)
	}
}

// Whatever attributes there are, each has a valid name of its own, in the form that clients want.
func TestAnyNames(t *testing.T) {
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`(_|__|a|\x00|:|1|é|\.|attribute\.|otel_scope_){0,5}`))
	rapid.Check(t, func(t *rapid.T) {
		namer := NewNamer("processor")
		seen := map[model.EscapingScheme]map[string]bool{model.NoEscaping: {}, model.UnderscoreEscaping: {"processor": true}}
		for _, name := range rapid.SliceOf(names).Draw(t, "names") {
			prefix := rapid.SampledFrom([]string{AttributePrefix, ResourcePrefix}).Draw(t, "prefix")
			label := namer.Name(prefix, name)
			assert.Equal(t, label.Prometheus, model.EscapeName(label.Name, model.UnderscoreEscaping))
			for scheme, seen := range seen {
				escaped := model.EscapeName(label.Name, scheme)
				assert.False(t, seen[escaped], escaped)
				assert.False(t, strings.HasPrefix(escaped, "__"), escaped)
				assert.True(t, scheme == model.NoEscaping || model.LegacyValidation.IsValidLabelName(escaped), escaped)
				seen[escaped] = true
				assert.False(t, strings.ContainsFunc(escaped, unicode.IsControl), escaped)
			}
		}
	})
}
