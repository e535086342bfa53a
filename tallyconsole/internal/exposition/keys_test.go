// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import "github.com/logtally/tallyprocessor/internal/serieskey"

// fuzzKeys are keys that are likely to clash.
func fuzzKeys(name, value, other, second, metric string) []string {
	var keys []string
	for _, list := range [][]serieskey.Attribute{
		{{Name: name, Value: serieskey.StringValue(value)}},
		{{Name: other, Value: serieskey.StringValue(second)}},
		{{Name: name, Value: serieskey.StringValue("1")}},
		{{Name: name, Value: serieskey.IntValue(1)}},
		nil,
	} {
		for _, resource := range [][]serieskey.Attribute{nil, {{Name: name, Value: serieskey.StringValue(second)}}, {{Name: other, Value: serieskey.BoolValue(true)}}} {
			keys = append(keys, serieskey.Key{Metric: metric, Resource: resource, Attributes: list}.String())
		}
	}
	return keys
}
