// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package emit turns the totals of a store into metrics: monotonic sums, cumulative or delta, whose times are the
// moments of collection and never those of records.
package emit

import (
	"iter"
	"time"

	"github.com/logtally/tallyprocessor/internal/hashmap"
	"github.com/logtally/tallyprocessor/store"
)

// Settings say how an Emitter emits.
type Settings struct {
	Scope   string // name of the instrumentation scope
	Version string
	ID      string // of the component that emits; no other of its Scope has it at the time

	// Delta makes it emit what was added since the last emission, instead of totals.
	Delta bool

	// StaleAfter is how long a cumulative series goes on unchanged before it is stale: one point without a recorded
	// value says so, and then nothing is sent until it changes. 0 = it never is while the store has the key.
	StaleAfter time.Duration

	// Settle is how long a total may be lower than before without being reset: meanwhile it is not emitted. 0 = it is
	// reset at once.
	Settle time.Duration

	// Metrics are the names of the metrics to emit; nil = all of the store.
	Metrics []string

	// Since is the moment from which on a key that is first counted is new to the world: only such a key gets a zero
	// point, since an older one may have been emitted before.
	Since time.Time
}

// Emitter emits the totals of one store. It remembers what the next consumer has accepted, so that a failed send loses
// nothing. It is serial: not safe for concurrent use, and without a clock of its own.
//
// Keys that differ only in the kind of a value (200, "200", 200.0), or in an empty value, are one series, their sum:
// backends such as Prometheus hold all values as text, and would keep one of them and drop the others.
type Emitter struct {
	settings Settings
	series   *hashmap.Map[*series] // by key; those of other metrics are not in it
	byLabels *labelIndex           // where the labels of a key are not its text
	groups   map[string]*group     // by start
	lower    map[*series]int64     // since when totals have been lower than what was accepted

	order []*series // as they are sent; see inOrder
	fresh []*series // that are not in order
	gaps  bool      // series in order have left it

	// Of the present collection. now is Unix time in nanoseconds, as since of the settings.
	number       uint32
	now, since   int64
	descriptions map[string]*store.Description
	listing      listing
	points       []*series // that have something to send
}

// New returns an Emitter that has emitted nothing.
func New(settings Settings) *Emitter {
	return &Emitter{
		settings: settings, series: hashmap.New[*series](), byLabels: newLabelIndex(), groups: map[string]*group{}, lower: map[*series]int64{},
		descriptions: map[string]*store.Description{},
	}
}

// Collect returns what is to be sent of the totals, in a stable order. It is good until the next call. An error does
// not keep the good part from being returned: the caller sends that and reports the error.
func (e *Emitter) Collect(
	totals iter.Seq2[store.Total, error], descriptions []store.Description, now time.Time,
) (*Collection, error) {
	e.number++
	e.now, e.since = now.UnixNano(), e.settings.Since.UnixNano()
	e.describe(descriptions)
	complete, err := e.list(totals)
	if complete {
		e.listUncounted(descriptions)
	}
	e.collect(complete)
	return &Collection{emitter: e, points: e.points}, err
}

// collect finds what there is to send. complete says that the listing has every key of the store.
func (e *Emitter) collect(complete bool) {
	e.arrange()
	clear(e.points)
	e.points = e.points[:0]
	for _, s := range e.order {
		switch {
		case s.listed == e.number:
			e.follow(s, e.observe(s, e.whole(s, complete)))
		case complete: // else the store may have it still
			e.follow(s, gone)
		}
	}
}
