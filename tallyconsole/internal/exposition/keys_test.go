package exposition

import "github.com/logtally/tallyprocessor/internal/identity"

// fuzzKeys are keys that are likely to clash.
func fuzzKeys(name, value, other, second, metric string) []string {
	var keys []string
	for _, list := range [][]identity.Attribute{
		{{Name: name, Value: identity.StringValue(value)}},
		{{Name: other, Value: identity.StringValue(second)}},
		{{Name: name, Value: identity.StringValue("1")}},
		{{Name: name, Value: identity.IntValue(1)}},
		nil,
	} {
		for _, resource := range [][]identity.Attribute{nil, {{Name: name, Value: identity.StringValue(second)}}, {{Name: other, Value: identity.BoolValue(true)}}} {
			keys = append(keys, identity.Key{Metric: metric, Resource: resource, Attributes: list}.String())
		}
	}
	return keys
}
