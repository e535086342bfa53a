// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// metricsResponse is the body of /api/v1/metrics.
type metricsResponse struct {
	Status  status        `json:"status"`
	Metrics []metricEntry `json:"metrics"`
}

// metricEntry is a metric and what its keys add up to.
type metricEntry struct {
	metricStatus
	Attributes []attributeInfo `json:"attributes"`
	Sum        summary         `json:"sum"`
}

// attributeInfo is an attribute that keys of a metric have.
type attributeInfo struct {
	Reference string `json:"reference"` // what it is called in queries
	Name      string `json:"name"`
	Resource  bool   `json:"resource"`
	Values    int    `json:"values"` // distinct ones
}

// metrics answers /api/v1/metrics.
func (h *handler) metrics(r *http.Request, values url.Values) (any, *apiError) {
	if refused := checkNames(values, nil); refused != nil {
		return nil, refused
	}
	s := h.executor.sampler.newest.Load()
	body := metricsResponse{h.executor.status(s), []metricEntry{}}
	err := h.executor.work(r.Context(), func(ctx context.Context) error {
		for _, name := range s.names() {
			m, _ := s.metric(name)
			t, err := totalsOf(ctx, s, m, &totalsQuery{metric: name, query: query.Query{Limit: 1}})
			if err != nil {
				return err
			}
			body.Metrics = append(body.Metrics, metricEntry{t.Metric, attributesOf(m), t.Sum})
		}
		return nil
	})
	if err != nil {
		return nil, cannotAnswer(err, nil)
	}
	return body, nil
}

func attributesOf(m *table.Metric) []attributeInfo {
	list := []attributeInfo{}
	for i, values := range m.Distinct() {
		if c := m.Columns[i]; values > 0 {
			list = append(list, attributeInfo{query.ReferenceTo(m, i).String(), c.Name, c.Resource, values})
		}
	}
	return list
}

// overflowResponse is the body of /api/v1/overflow.
type overflowResponse struct {
	Metric    metricStatus `json:"metric"`
	Supported bool         `json:"supported"` // the store remembers what overflows
	Since     *time.Time   `json:"since"`     // from when on it has done so; null = it does not
	Items     []overflowed `json:"items"`
}

// overflowed is a key that was counted under an overflow key.
type overflowed struct {
	Key      string  `json:"key"`
	Labels   []label `json:"labels"`
	Estimate int     `json:"estimate"`  // of its total; the total is not above it
	MaxError int     `json:"max_error"` // and at most this below
}

// overflow answers /api/v1/overflow.
func (h *handler) overflow(_ *http.Request, values url.Values) (any, *apiError) {
	if refused := checkNames(values, []string{"metric", "limit"}); refused != nil {
		return nil, refused
	}
	limit, refused := h.limit(values)
	if refused != nil {
		return nil, refused
	}
	s := h.executor.sampler.newest.Load()
	m, ok := s.metric(values.Get("metric"))
	if !ok || !values.Has("metric") {
		return nil, unknownMetric(values.Get("metric"), s)
	}
	body := overflowResponse{Metric: newMetricStatus(s, m), Supported: h.overflows != nil, Items: []overflowed{}}
	if h.overflows != nil {
		body.Since = unixTime(h.since.UnixNano())
		for _, o := range h.overflows.Overflows(m.Name, limit) {
			body.Items = append(body.Items, overflowed{o.Key, decodedLabels(o.Key), o.Estimate, o.MaxError})
		}
	}
	return body, nil
}

// decodedLabels are those of the text of a key; none of what is no key.
func decodedLabels(text string) []label {
	labels := []label{}
	k, err := serieskey.Decode(text)
	if err != nil {
		return labels
	}
	for _, a := range k.Attributes {
		labels = append(labels, newLabel(a.Name, false, string(serieskey.AppendValue(nil, a.Value))))
	}
	for _, a := range k.Resource {
		labels = append(labels, newLabel(a.Name, true, string(serieskey.AppendValue(nil, a.Value))))
	}
	return labels
}

// healthResponse is the body of /api/v1/health.
type healthResponse struct {
	Status         status     `json:"status"`
	Store          string     `json:"store"`
	FailingSince   *time.Time `json:"failing_since"` // null = it is not
	SampleSeconds  float64    `json:"sample_seconds"`
	ForeignKeys    int        `json:"foreign_keys"` // in the store, and not tally's
	FullMetrics    []string   `json:"full_metrics"`
	Subscribers    int        `json:"subscribers"`
	MaxSubscribers int        `json:"max_subscribers"`
}

// health answers /api/v1/health: with 200 for as long as the console itself is well.
func (h *handler) health(_ *http.Request, values url.Values) (any, *apiError) {
	if refused := checkNames(values, nil); refused != nil {
		return nil, refused
	}
	s := h.executor.sampler.newest.Load()
	body := healthResponse{
		Status: h.executor.status(s), Store: h.cfg.Store.String(), SampleSeconds: rounded(s.duration.Seconds()),
		ForeignKeys: s.Foreign, FullMetrics: []string{}, Subscribers: h.hub.subscribed(), MaxSubscribers: h.cfg.MaxSubscribers,
	}
	if !s.failingSince.IsZero() {
		body.FailingSince = unixTime(s.failingSince.UnixNano())
	}
	for _, name := range s.names() {
		if m, _ := s.metric(name); full(m, s.descriptions[name]) {
			body.FullMetrics = append(body.FullMetrics, name)
		}
	}
	return body, nil
}
