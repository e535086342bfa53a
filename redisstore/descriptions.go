// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/logtally/tallyprocessor/internal/meaning"
	"github.com/logtally/tallyprocessor/store"
)

// descriptions are those of the metrics that this process counts. They are sent as they change, and again when the
// server has lost something. They are safe for concurrent use.
type descriptions struct {
	// mu guards the fields below.
	mu       sync.Mutex
	byMetric map[string]store.Description
	unsent   bool
}

// description is what the server has of one, as JSON.
type description struct {
	Description string `json:"description"`
	Unit        string `json:"unit"`
	Sum         string `json:"sum,omitempty"`
	Key         string `json:"key,omitempty"`

	CardinalityLimit int `json:"cardinality_limit,omitempty"`
}

func (d *descriptions) describe(one store.Description) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byMetric == nil {
		d.byMetric = map[string]store.Description{}
	}
	d.byMetric[one.Metric] = one
	d.unsent = true
}

// take returns what is to be sent, as fields and values; nil when there is nothing. giveBack says that it was not.
func (d *descriptions) take() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.unsent {
		return nil
	}
	d.unsent = false
	var fields []any
	for metric, one := range d.byMetric {
		// strings and a number
		text, _ := json.Marshal(description{one.Description, one.Unit, one.Sum, one.Key, one.CardinalityLimit})
		fields = append(fields, metric, text)
	}
	return fields
}

// others returns what the server has of metrics that this process counts as something else, given its fields and
// values: another Collector does, or an earlier configuration did.
func (d *descriptions) others(kept map[string]string) map[string]meaning.Meaning {
	d.mu.Lock()
	defer d.mu.Unlock()
	others := map[string]meaning.Meaning{}
	for metric, own := range d.byMetric {
		var there description
		if json.Unmarshal([]byte(kept[metric]), &there) != nil {
			continue // it is none, or will be overwritten
		}
		if m := (meaning.Meaning{Unit: there.Unit, Sum: there.Sum}); m.Differs(meaning.Meaning{Unit: own.Unit, Sum: own.Sum}) {
			others[metric] = m
		}
	}
	return others
}

func (d *descriptions) giveBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsent = len(d.byMetric) > 0
}

// with returns the descriptions of others and these.
func (d *descriptions) with(others map[string]store.Description) []store.Description {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := maps.Clone(d.byMetric)
	if all == nil {
		all = map[string]store.Description{}
	}
	maps.Copy(all, others)
	return slices.Collect(maps.Values(all))
}
