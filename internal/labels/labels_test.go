package labels

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNamesStayApart(t *testing.T) {
	n := NewNamer("processor")
	for _, tt := range []struct{ prefix, name, want string }{
		{AttributePrefix, "http.route", "http.route"},
		{ResourcePrefix, "http.route", "resource.http.route"},
		{ResourcePrefix, "http_route", "resource.http_route_2"}, // as Prometheus writes it, both names before are taken
		{AttributePrefix, "processor", "attribute.processor"},
		{AttributePrefix, "__name__", "attribute.__name__"},
		{AttributePrefix, "otel.scope.name", "attribute.otel.scope.name"},
		{AttributePrefix, "", "attribute."},
	} {
		assert.Equal(t, tt.want, n.Name(tt.prefix, tt.name), tt.name)
	}
}
