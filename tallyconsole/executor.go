// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"math"
	"time"

	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// executor works on a bounded number of queries at a time. It is safe for concurrent use.
type executor struct {
	cfg       *Config
	sampler   *sampler
	semaphore chan struct{}
}

func newExecutor(cfg *Config, s *sampler) *executor {
	return &executor{cfg: cfg, sampler: s, semaphore: make(chan struct{}, cfg.MaxConcurrentQueries)}
}

// execute answers a query out of one sample.
func (e *executor) execute(ctx context.Context, s *sample, q *totalsQuery) (*totals, *apiError) {
	m, ok := s.metric(q.metric)
	if !ok {
		return nil, unknownMetric(q.metric, s)
	}
	var t *totals
	err := e.work(ctx, func(ctx context.Context) (err error) {
		t, err = totalsOf(ctx, s, m, q)
		return err
	})
	if err != nil {
		return nil, cannotAnswer(err, m)
	}
	return t, nil
}

// work calls f in a place, for at most as long as an answer may take. All that looks through the keys of a metric is
// done so.
func (e *executor) work(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.QueryTimeout)
	defer cancel()
	if err := e.acquire(ctx); err != nil {
		return err
	}
	defer e.release()
	return f(ctx)
}

func totalsOf(ctx context.Context, s *sample, m *table.Metric, q *totalsQuery) (*totals, error) {
	if len(m.Columns) == 0 && m.Live == 0 {
		return newTotals(s, m, q, &query.Result{}), nil
	}
	res, err := query.Run(ctx, m, s.Rates, q.query)
	if err != nil {
		return nil, err
	}
	return newTotals(s, m, q, res), nil
}

// status says what an answer was made of.
type status struct {
	State      string     `json:"state"` // ok, starting, partial or away
	Number     int        `json:"number"`
	Taken      *time.Time `json:"taken"`
	AgeSeconds float64    `json:"age_seconds"`
	Error      string     `json:"error,omitempty"`

	Keys             int  `json:"keys"` // distinct ones of all metrics, overflow keys apart
	OverflowKeys     int  `json:"overflow_keys"`
	KeysNotTracked   int  `json:"keys_not_tracked"`
	MaxTrackedKeys   int  `json:"max_tracked_keys"`
	RateLimitReached bool `json:"rate_limit_reached"`

	// RateSeconds is the time that the rates are over; 0 = none is known yet.
	RateSeconds windows `json:"rate_seconds"`
}

// windows is a number for each window.
type windows struct {
	Rate10s float64 `json:"rate_10s"`
	Rate1m  float64 `json:"rate_1m"`
	Rate5m  float64 `json:"rate_5m"`
}

// The states of the store, as the console sees it.
const (
	stateOK       = "ok"
	stateStarting = "starting" // there was no sample yet
	statePartial  = "partial"  // the last one has listed some totals and then failed
	stateAway     = "away"     // the last one has listed none
)

func (e *executor) status(s *sample) status {
	st := status{
		State: stateOK, Number: s.Number, Taken: unixTime(s.Taken.UnixNano()), AgeSeconds: rounded(time.Since(s.Taken).Seconds()),
		Error: errorText(s.err), Keys: s.Keys, OverflowKeys: s.Snapshot.Overflow, KeysNotTracked: s.Untracked, MaxTrackedKeys: e.cfg.MaxTrackedKeys,
		RateLimitReached: s.Untracked > 0,
	}
	if s.Rates != nil {
		c := s.Rates.Covered
		st.RateSeconds = windows{
			rounded(c[rates.TenSeconds].Seconds()), rounded(c[rates.OneMinute].Seconds()), rounded(c[rates.FiveMinutes].Seconds()),
		}
	}
	switch {
	case s.stale:
		st.State = stateAway
	case s.err != nil:
		st.State = statePartial
	case s.Number == 0:
		st.State = stateStarting
	}
	if s.Number == 0 {
		st.Taken, st.AgeSeconds = nil, 0
	}
	return st
}

// rounded keeps three decimals.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }

// metricStatus says what a metric is.
type metricStatus struct {
	Name             string `json:"name"`
	Description      string `json:"description"`
	Unit             string `json:"unit"`
	CardinalityLimit int    `json:"cardinality_limit"` // 0 = none, or it is not known
	Keys             int    `json:"keys"`              // distinct ones, overflow keys apart
	OverflowKeys     int    `json:"overflow_keys"`
	// there are as many keys as the limit says, or keys overflow and the limit is not known
	Full bool `json:"full"`
}

func newMetricStatus(s *sample, m *table.Metric) metricStatus {
	d := s.descriptions[m.Name]
	return metricStatus{m.Name, d.Description, d.Unit, d.CardinalityLimit, m.Live - m.OverflowKeys, m.OverflowKeys, full(m, d)}
}

func full(m *table.Metric, d store.Description) bool {
	if d.CardinalityLimit == 0 {
		return m.OverflowKeys > 0
	}
	return m.Live-m.OverflowKeys >= d.CardinalityLimit
}
