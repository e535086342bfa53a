// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/shown"
	"github.com/logtally/tallyprocessor/store"
)

// The OpenTelemetry SDK folds what exceeds its own limit, 2000 attribute sets an instrument by default
// (go.opentelemetry.io/otel/sdk/metric, WithCardinalityLimit), the set to fold into among them, into an overflow series
// of its own. Pages stay below, so that it never cuts a second time.
const (
	pageCapacity = 1990 // series
	// series on average when the limits are reached: hashes do not spread them so unevenly that a page is full
	pageLoad = 1600

	pagesWithoutLimit = 256
)

// pageKey tells pages apart.
type pageKey struct{ metric, number int }

// page is one instrument and its series. Its meter differs from that of every other page in its scope attributes, which
// Prometheus does not show by default, so that the SDK takes them for different instruments: also those of two metrics
// that differ in case alone, which one meter would have for the same.
type page struct {
	registration metric.Registration

	// mu guards the fields below and what they hold.
	mu     sync.Mutex
	store  store.MetricStore // nil = it is frozen
	series []*pageSeries
}

// pageFor returns the page for a new series. Its hash decides, since where the scope is shown the page is part of the
// series' identity, which must not depend on when it came. Only where that page is full is it a page beyond the regular
// ones.
func (p *pageSet) pageFor(s seriesKey) (*page, error) {
	regular := regularPages(p.metrics[s.metric].CardinalityLimit)
	number := int(xxhash.Sum64String(s.labels) % uint64(regular))
	pg, err := p.page(pageKey{s.metric, number})
	for extra := regular; err == nil && pg.isFull(); extra++ {
		pg, err = p.page(pageKey{s.metric, extra})
	}
	return pg, err
}

// regularPages returns how many pages a metric has, given its cardinality limit: it has at most 2*limit+1 keys.
func regularPages(limit int) int {
	if limit == 0 {
		return pagesWithoutLimit
	}
	return 1 + limit/(pageLoad/2)
}

// page returns a page, which it makes when it is needed for the first time.
func (p *pageSet) page(k pageKey) (*page, error) {
	if pg, ok := p.pages[k]; ok {
		return pg, nil
	}
	pg, m := &page{store: p.store}, p.metrics[k.metric]
	meter := p.provider.Meter(metadata.ScopeName, metric.WithInstrumentationAttributes(
		attribute.String(ProcessorLabel, p.id), attribute.String(metricLabel, m.Metric), attribute.Int("page", k.number),
	))
	name, _, _ := labels.Metric(m.Metric) // Validate has refused those without
	// An error is about the form of the name, which is the user's to choose; the instrument works all the same.
	counter, _ := meter.Int64ObservableCounter(name, metric.WithDescription(cmp.Or(m.Description, defaultHelp)), metric.WithUnit(m.Unit))
	var err error
	pg.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		pg.observe(o, counter)
		return nil
	}, counter)
	if err != nil {
		return nil, err
	}
	p.pages[k] = pg
	return pg, nil
}

func (pg *page) isFull() bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return len(pg.series) >= pageCapacity
}

func (pg *page) append(s *pageSeries) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	s.index = len(pg.series)
	pg.series = append(pg.series, s)
}

func (pg *page) join(s *pageSeries, key string) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	s.keys = append(s.keys, pageKeyTotal{text: key})
}

// drop takes a key from a series, and says whether the series is gone since it was the last. Else the series keeps what
// it has shown of the key, so that it does not fall.
func (pg *page) drop(s *pageSeries, key string) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	s.keys = slices.DeleteFunc(s.keys, func(k pageKeyTotal) bool {
		if k.text == key {
			s.gone, _ = saturating.Add(s.gone, k.shown)
		}
		return k.text == key
	})
	if len(s.keys) > 0 {
		return false
	}
	last := len(pg.series) - 1
	moved := pg.series[last]
	pg.series[s.index], moved.index = moved, s.index
	pg.series[last] = nil
	pg.series = pg.series[:last]
	return true
}

func (pg *page) observe(o metric.Observer, counter metric.Int64Observable) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, s := range pg.series {
		o.ObserveInt64(counter, min(pg.sum(s), shown.Largest), s.options...)
	}
}

// sum returns the sum of the keys of a series. The caller holds the lock.
func (pg *page) sum(s *pageSeries) int64 {
	sum := s.gone
	for i := range s.keys {
		k := &s.keys[i]
		if pg.store != nil {
			// it falls only between its end in the store and that on the page
			k.shown = max(k.shown, int64(pg.store.Get(k.text)))
		}
		sum, _ = saturating.Add(sum, k.shown)
	}
	return sum
}

// freeze makes the page show for good what it would show now, and let go of the store.
func (pg *page) freeze() {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, s := range pg.series {
		pg.sum(s)
	}
	pg.store = nil
}
