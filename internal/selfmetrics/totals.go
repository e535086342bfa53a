// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/logtally/tallyprocessor/internal/recovered"
	"github.com/logtally/tallyprocessor/store"
)

// Totals publish the totals of a store, those of keys that they are told of, on the Collector's telemetry. They do so
// in a goroutine of their own, which runs while there is something to do. An instrument is made under a lock of the SDK
// that a collection holds until its end: nobody who counts waits for that.
//
// A key is told before it is first counted. It is on the first page that is collected after the goroutine has come to
// it.
type Totals struct {
	pages  *pageSet
	failed func(metric int, err error) // is told of a key that is counted and cannot be shown

	// mu guards the fields below. It is held for a look at them, never while the SDK is called.
	mu sync.Mutex
	// what is to be done. A key is not in it twice, so it is no larger than what is shown and counted
	waiting map[metricKey]change
	idle    chan struct{} // closed when the goroutine ends; nil = it does not run
}

// change is what is to be done with a key.
type change int

const (
	publish change = iota + 1
	end
	renew // end, and then publish: it was dropped, and has begun anew
)

type metricKey struct {
	metric int
	text   string
}

// NewTotals returns Totals of a component id that counts metrics in own. failed is told of a key that is counted and
// cannot be shown.
func NewTotals(
	provider metric.MeterProvider, id string, metrics []store.Description, own store.MetricStore, failed func(metric int, err error),
) *Totals {
	return &Totals{pages: newPageSet(provider, id, metrics, own), failed: failed, waiting: map[metricKey]change{}}
}

// ShowKnown publishes keys that are known before anything is counted under them, those of metrics that have one key
// only: their series begin at 0, so that the first increase is seen.
func (p *Totals) ShowKnown() error {
	for i, m := range p.pages.metrics {
		if m.Key == "" {
			continue
		}
		if err := p.pages.add(i, m.Key); err != nil {
			return err
		}
	}
	return nil
}

// Waiting returns how many keys are to be published or to be ended.
func (p *Totals) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Pages returns how many instruments there are.
func (p *Totals) Pages() int {
	p.pages.mu.Lock()
	defer p.pages.mu.Unlock()
	return len(p.pages.pages)
}

// Freeze makes what is published stay as it is, until Stop, and lets go of the store.
func (p *Totals) Freeze() { p.pages.freeze() }

// Stop ends the publication.
func (p *Totals) Stop() error { return p.pages.stop() }

// Add publishes a key of metric i that is not published.
func (p *Totals) Add(i int, key string) {
	p.change(metricKey{i, key}, func(before change) change {
		if before == end {
			return renew
		}
		return publish
	})
}

// Remove ends the publication of a key of metric i.
func (p *Totals) Remove(i int, key string) {
	p.change(metricKey{i, key}, func(before change) change {
		if before == publish {
			return 0 // it was not shown yet
		}
		return end
	})
}

func (p *Totals) change(k metricKey, next func(before change) change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := next(p.waiting[k])
	if c == 0 {
		delete(p.waiting, k)
		return
	}
	p.waiting[k] = c
	if p.idle == nil {
		p.idle = make(chan struct{})
		go p.run(p.idle)
	}
}

// run does what waits.
func (p *Totals) run(idle chan<- struct{}) {
	defer close(idle)
	for {
		changes := p.take()
		if len(changes) == 0 {
			return
		}
		for k, c := range changes {
			p.apply(k, c)
		}
	}
}

// take returns what waits. With nothing it notes that the goroutine ends.
func (p *Totals) take() map[metricKey]change {
	p.mu.Lock()
	defer p.mu.Unlock()
	changes := p.waiting
	p.waiting = map[metricKey]change{}
	if len(changes) == 0 {
		p.idle = nil
	}
	return changes
}

func (p *Totals) apply(k metricKey, c change) {
	if err := recovered.Call(func() error { return p.publish(k, c) }); err != nil {
		p.failed(k.metric, err)
	}
}

func (p *Totals) publish(k metricKey, c change) error {
	if c != publish {
		p.pages.remove(k.metric, k.text)
	}
	if c == end {
		return nil
	}
	return p.pages.add(k.metric, k.text)
}

// Wait returns when all that was told is done, or ctx ends.
func (p *Totals) Wait(ctx context.Context) error {
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
	select {
	case <-idle: // both were
		return nil
	default:
		return context.Cause(ctx)
	}
}
