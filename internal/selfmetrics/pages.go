// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// defaultHelp describes a metric without a description on the Collector's telemetry: where two processors share a name,
// the exporter for Prometheus does not stand an empty one beside another.
const defaultHelp = "Log records counted by tally."

// pageSet shows the totals of a private store on the Collector's own telemetry: each metric is an observable counter
// under its own name, each key a series.
//
// Labels are text, whatever type a value has: series whose labels would be the same in Prometheus are one, their sum.
type pageSet struct {
	provider metric.MeterProvider
	id       string
	metrics  []store.Description
	store    store.MetricStore

	// mu guards the fields below. No callback of an instrument takes it, and nobody who counts: it is held while an
	// instrument is made, and the SDK waits for the callbacks then.
	mu     sync.Mutex
	series map[seriesKey]*pageSeries
	pages  map[pageKey]*page // those that are needed so far
	ended  bool
}

// seriesKey tells series apart.
type seriesKey struct {
	metric int
	labels string // as Prometheus would show them
}

// pageSeries is one series, usually of one key.
type pageSeries struct {
	page    *page
	index   int // in page.series
	keys    []pageKeyTotal
	gone    int64 // what keys have shown that the store has dropped, while others are there
	options []metric.ObserveOption
}

// pageKeyTotal is a key of a series.
type pageKeyTotal struct {
	text  string
	shown int64 // of its total
}

func newPageSet(provider metric.MeterProvider, id string, metrics []store.Description, own store.MetricStore) *pageSet {
	return &pageSet{
		provider: provider,
		id:       id,
		metrics:  metrics,
		store:    own,
		series:   map[seriesKey]*pageSeries{},
		pages:    map[pageKey]*page{},
	}
}

// add publishes a key of metric i that was not published before. An error leaves the key counted and not shown.
func (p *pageSet) add(i int, key string) error {
	name, set, err := p.seriesOf(i, key)
	if err != nil {
		return err
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	if s, ok := p.series[name]; ok {
		s.page.join(s, key)
		return nil
	}
	s := &pageSeries{keys: []pageKeyTotal{{text: key}}, options: []metric.ObserveOption{metric.WithAttributeSet(set)}}
	if s.page, err = p.pageFor(name); err != nil {
		return err
	}
	s.page.append(s)
	p.series[name] = s
	return nil
}

// remove ends the publication of a key of metric i.
func (p *pageSet) remove(i int, key string) {
	name, _, err := p.seriesOf(i, key)
	if err != nil {
		return // it was not added either
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.series[name]
	if !ok || !s.page.drop(s, key) {
		return
	}
	delete(p.series, name)
}

// seriesOf returns the series of a key of metric i, and its labels.
func (p *pageSet) seriesOf(i int, key string) (name seriesKey, set attribute.Set, err error) {
	decoded, err := serieskey.Decode(key)
	if err != nil {
		return name, set, err
	}
	list, text := p.labels(decoded)
	return seriesKey{i, text}, attribute.NewSet(list...), nil
}

// stop ends the publication for good.
func (p *pageSet) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	var errs []error
	for _, pg := range p.pages {
		errs = append(errs, pg.registration.Unregister())
	}
	return errors.Join(errs...)
}

// labels returns the labels of a key, and their text as Prometheus would show them, in an order and form that no other
// labels have: the processor, the attributes under their own names, then the resource attributes under theirs, as far
// as labels.Namer lets them. A label without a value is left out, as Prometheus has it.
func (p *pageSet) labels(k serieskey.Key) (list []attribute.KeyValue, text string) {
	names := labels.NewNamer(ProcessorLabel)
	list = []attribute.KeyValue{attribute.String(ProcessorLabel, p.id)}
	var parts []string
	add := func(prefix string, attributes []serieskey.Attribute) {
		for _, a := range attributes {
			name := names.Name(prefix, a.Name)
			if value := a.Value.AsString(); value != "" {
				list = append(list, attribute.String(name.Name, value))
				parts = append(parts, fmt.Sprintf("%q=%q", name.Prometheus, value))
			}
		}
	}
	add(labels.AttributePrefix, k.Attributes)
	add(labels.ResourcePrefix, k.Resource)
	slices.Sort(parts)
	return list, strings.Join(parts, ",")
}

// freeze makes all pages show for good what they would show now, and let go of the store.
func (p *pageSet) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.store = true, nil
	for _, pg := range p.pages {
		pg.freeze()
	}
}
