package tallyconsole

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/rates"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// answerer works on a bounded number of questions at a time, and remembers the answers for as long as the snapshot is the
// newest. It is safe for concurrent use.
type answerer struct {
	cfg     *Config
	sampler *sampler
	places  chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	of    *table.Snapshot // that the answers are of
	known map[string]*totals
}

func newAnswerer(cfg *Config, s *sampler) *answerer {
	return &answerer{cfg: cfg, sampler: s, places: make(chan struct{}, cfg.MaxConcurrentQueries)}
}

// answer answers a question. The answer is the caller's to read, not to change.
func (a *answerer) answer(ctx context.Context, q *question) (*sample, *totals, *refusal) {
	newest := a.sampler.newest.Load()
	m, ok := newest.metric(q.metric)
	if !ok {
		return newest, nil, unknownMetric(q.metric, newest)
	}
	if t := a.remembered(newest.Snapshot, q.id()); t != nil {
		return newest, t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.QueryTimeout)
	defer cancel()
	select {
	case a.places <- struct{}{}:
		defer func() { <-a.places }()
	case <-ctx.Done():
		return newest, nil, cannotAnswer(ctx.Err(), m)
	}
	if t := a.remembered(newest.Snapshot, q.id()); t != nil { // somebody has asked the same while this one waited
		return newest, t, nil
	}
	if len(m.Columns) == 0 && m.Live == 0 {
		t := newTotals(newest, m, q, &query.Result{})
		return newest, t, nil
	}
	res, err := query.Run(ctx, m, newest.Rates, q.query)
	if err != nil {
		return newest, nil, cannotAnswer(err, m)
	}
	t := newTotals(newest, m, q, res)
	a.remember(newest.Snapshot, q.id(), t)
	return newest, t, nil
}

func (a *answerer) remembered(of *table.Snapshot, id string) *totals {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of != of {
		return nil
	}
	return a.known[id]
}

func (a *answerer) remember(of *table.Snapshot, id string, t *totals) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of != of {
		a.of, a.known = of, map[string]*totals{}
	}
	if len(a.known) < a.cfg.MaxCachedAnswers {
		a.known[id] = t
	}
}

// status says what an answer was made of.
type status struct {
	State      string     `json:"state"` // ok, starting, partial or away
	Number     int        `json:"number"`
	Taken      *time.Time `json:"taken"`
	AgeSeconds float64    `json:"age_seconds"`
	Error      string     `json:"error,omitempty"`

	Keys             int  `json:"keys"`
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

func (a *answerer) status(s *sample) status {
	st := status{
		State: stateOK, Number: s.Number, Taken: unixTime(s.Taken.UnixNano()), AgeSeconds: rounded(time.Since(s.Taken).Seconds()),
		Error: errorText(s.err), Keys: s.Keys, KeysNotTracked: s.Untracked, MaxTrackedKeys: a.cfg.MaxTrackedKeys,
		RateLimitReached: s.Untracked > 0,
	}
	if s.Rates != nil {
		c := s.Rates.Covered
		st.RateSeconds = windows{
			rounded(c[rates.Ten].Seconds()), rounded(c[rates.Minute].Seconds()), rounded(c[rates.FiveMinutes].Seconds()),
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
	Keys             int    `json:"keys"`              // overflow keys among them
	OverflowKeys     int    `json:"overflow_keys"`
	Full             bool   `json:"full"` // keys are counted together under overflow keys
}

func newMetricStatus(s *sample, m *table.Metric) metricStatus {
	d := s.descriptions[m.Name]
	return metricStatus{m.Name, d.Description, d.Unit, d.CardinalityLimit, m.Live, m.OverflowKeys, full(m, d)}
}

func full(m *table.Metric, d tallyprocessor.Description) bool {
	return m.OverflowKeys > 0 || d.CardinalityLimit > 0 && m.Live >= d.CardinalityLimit
}
