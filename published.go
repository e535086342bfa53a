package tallyprocessor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/identity"
	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/internal/metadata"
)

// defaultHelp describes a metric without a description on the Collector's telemetry: where two processors share a name,
// the exporter for Prometheus does not stand an empty one beside another.
const defaultHelp = "Log records counted by tally."

// pageSize is how many series of one metric go through one instrument. The OpenTelemetry SDK folds what exceeds its
// own limit, 2000 attribute sets an instrument by default (go.opentelemetry.io/otel/sdk/metric, WithCardinalityLimit),
// into an overflow series of its own; the pages keep well below, so that it never cuts a second time.
const pageSize = 1000

// largestShown is the largest int64 that the SDK shows as it is: it computes in float64 (sdk/metric/internal/aggregate,
// atomicCounter), where what is larger would round to 2^63 and turn negative. Above 2^53 it rounds.
const largestShown = math.MaxInt64 - 1023

// processorLabel tells apart the points of several processors, as in the Collector's own processor metrics.
const processorLabel = "processor"

// published shows the totals of a private store on the Collector's own telemetry: each metric is an observable counter
// under its own name, each key a series.
//
// Labels are text, whatever type a value has: series whose labels would be the same in Prometheus are one, their sum.
type published struct {
	provider metric.MeterProvider
	id       string
	metrics  []namedMetric
	store    MetricStore

	// mu guards the fields below. No callback of an instrument takes it: it is held while an instrument is made, and
	// the SDK waits for the callbacks then.
	mu     sync.Mutex
	series map[string]*publishedSeries // by metric and Prometheus labels
	pages  [][]*page                   // by metric
	room   [][]*page                   // by metric: those that may have room
}

// publishedSeries is one series, usually of one key.
type publishedSeries struct {
	page    *page
	index   int // in page.series
	keys    []string
	options []metric.ObserveOption
}

// page is one instrument and its series. Its meter differs from that of every other page in its scope attributes, which
// Prometheus does not show by default, so that the SDK takes them for different instruments.
type page struct {
	registration metric.Registration

	// mu guards series and what they hold.
	mu     sync.Mutex
	series []*publishedSeries
}

func newPublished(set processor.Settings, metrics []namedMetric, store MetricStore) *published {
	return &published{
		provider: set.MeterProvider,
		id:       set.ID.String(),
		metrics:  metrics,
		store:    store,
		series:   map[string]*publishedSeries{},
		pages:    make([][]*page, len(metrics)),
		room:     make([][]*page, len(metrics)),
	}
}

// add publishes a key of metric i that was not published before. It is called before the key is first counted; an error
// leaves the key counted and not shown.
func (p *published) add(i int, key string) error {
	name, set, err := p.seriesOf(i, key)
	if err != nil {
		return err
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.series[name]; ok {
		s.page.join(s, key)
		return nil
	}
	s := &publishedSeries{keys: []string{key}, options: []metric.ObserveOption{metric.WithAttributeSet(set)}}
	if s.page, err = p.pageWithRoom(i); err != nil {
		return err
	}
	s.page.append(s)
	p.series[name] = s
	return nil
}

// remove ends the publication of a key of metric i.
func (p *published) remove(i int, key string) {
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
	if !slices.Contains(p.room[i], s.page) {
		p.room[i] = append(p.room[i], s.page)
	}
}

// seriesOf returns the name of the series of a key of metric i, and its labels.
func (p *published) seriesOf(i int, key string) (name string, set attribute.Set, err error) {
	decoded, err := identity.Decode(key)
	if err != nil {
		return "", set, err
	}
	set = attribute.NewSet(p.labels(decoded)...)
	return fmt.Sprint(i, seriesName(set)), set, nil
}

// pageWithRoom returns a page of metric i that has room, or a new one.
func (p *published) pageWithRoom(i int) (*page, error) {
	for n := len(p.room[i]); n > 0; n = len(p.room[i]) {
		if pg := p.room[i][n-1]; pg.len() < pageSize {
			return pg, nil
		}
		p.room[i] = p.room[i][:n-1]
	}
	pages := p.pages[i]
	pg := &page{}
	meter := p.provider.Meter(metadata.ScopeName, metric.WithInstrumentationAttributes(
		attribute.String(processorLabel, p.id), attribute.Int("page", len(pages)),
	))
	m := p.metrics[i]
	// An error is about the form of the name, which is the user's to choose; the instrument works all the same.
	counter, _ := meter.Int64ObservableCounter(m.name, metric.WithDescription(cmp.Or(m.Description, defaultHelp)), metric.WithUnit(m.Unit))
	var err error
	pg.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		pg.observe(o, counter, p.store)
		return nil
	}, counter)
	if err != nil {
		return nil, err
	}
	p.pages[i] = append(pages, pg)
	p.room[i] = append(p.room[i], pg)
	return pg, nil
}

// stop ends the publication.
func (p *published) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, pages := range p.pages {
		for _, pg := range pages {
			errs = append(errs, pg.registration.Unregister())
		}
	}
	return errors.Join(errs...)
}

func (pg *page) len() int {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return len(pg.series)
}

func (pg *page) append(s *publishedSeries) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	s.index = len(pg.series)
	pg.series = append(pg.series, s)
}

// drop takes a key from a series, and says whether the series is gone since it was the last.
func (pg *page) drop(s *publishedSeries, key string) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if s.keys = slices.DeleteFunc(s.keys, func(k string) bool { return k == key }); len(s.keys) > 0 {
		return false
	}
	last := len(pg.series) - 1
	moved := pg.series[last]
	pg.series[s.index], moved.index = moved, s.index
	pg.series[last] = nil
	pg.series = pg.series[:last]
	return true
}

func (pg *page) join(s *publishedSeries, key string) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	s.keys = append(s.keys, key)
}

func (pg *page) observe(o metric.Observer, counter metric.Int64Observable, store MetricStore) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, s := range pg.series {
		var sum int64
		for _, key := range s.keys {
			sum += int64(store.Get(key))
		}
		o.ObserveInt64(counter, min(sum, largestShown), s.options...)
	}
}

// labels returns the labels of a key: the processor, the attributes under their own names, then the resource attributes
// under theirs. A name that is taken, or that Prometheus would not take, gets `attribute.` or `resource.` before it, and
// a number behind it should that be taken too. A label without a value is left out, as Prometheus has it.
func (p *published) labels(k identity.Key) []attribute.KeyValue {
	names := labels.NewNamer(processorLabel)
	list := []attribute.KeyValue{attribute.String(processorLabel, p.id)}
	add := func(prefix string, attributes []identity.Attribute) {
		for _, a := range attributes {
			name := names.Name(prefix, a.Name)
			if text := a.Value.AsString(); text != "" {
				list = append(list, attribute.String(name, text))
			}
		}
	}
	add(labels.AttributePrefix, k.Attributes)
	add(labels.ResourcePrefix, k.Resource)
	return list
}

// seriesName returns the labels as Prometheus would show them, in an order and form that no other labels have.
func seriesName(set attribute.Set) string {
	parts := make([]string, 0, set.Len())
	for _, kv := range set.ToSlice() {
		label, _ := labels.Prometheus(string(kv.Key))
		parts = append(parts, fmt.Sprintf("%q=%q", label, kv.Value.AsString()))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// validatePublishedNames wants names that stay apart from each other and from the Collector's own on its telemetry:
// two metrics of one Prometheus name, or one of another type, would break the whole page.
func validatePublishedNames(names []string) error {
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithoutSuffixes)
	owners := map[string]string{}
	var errs []error
	for _, name := range names {
		if name == "" {
			continue // the metric says so itself
		}
		prometheus, err := namer.Build(otlptranslator.Metric{Name: name, Type: otlptranslator.MetricTypeMonotonicCounter})
		owner, taken := owners[prometheus]
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("`logs::%s`: name of a metric: %w", name, err))
		case strings.HasPrefix(prometheus, "otelcol_"), prometheus == "target_info", strings.HasPrefix(prometheus, "promhttp_"):
			errs = append(errs, fmt.Errorf("`logs::%s`: name of a metric %w for the Collector's own", name, errReserved))
		case taken:
			errs = append(errs, fmt.Errorf("`logs::%s`: the metric is called %s in Prometheus, as `logs::%s` is", name, prometheus, owner))
		default:
			owners[prometheus] = name
		}
	}
	return errors.Join(errs...)
}
