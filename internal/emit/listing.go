// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/logtally/tallyprocessor/internal/saturating"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

var errForeignKeys = errors.New("store has keys that are not tally's")

// lookahead is how many keys are looked up at once: of many series, nearly each is in no cache of the CPU, which waits
// for all of them together.
const lookahead = 64

// listing has some totals of a store that are yet to be entered, and what finds their series.
type listing struct {
	totals  []store.Total
	keys    []byte // end to end
	hashes  []uint64
	fetched []uint32
	foreign int // keys that are not tally's, so far
}

// list reads what the store has; complete says that it is all. An error of the store ends the listing.
func (e *Emitter) list(totals iter.Seq2[store.Total, error]) (complete bool, err error) {
	e.listing.totals, e.listing.foreign = e.listing.totals[:0], 0 // a store that panicked may have left some
	for total, failure := range totals {
		if failure != nil {
			err = fmt.Errorf("list totals: %w", failure)
			break
		}
		e.listing.totals = append(e.listing.totals, total)
		if len(e.listing.totals) == lookahead {
			e.enterListing()
		}
	}
	e.enterListing()
	if n := e.listing.foreign; n > 0 {
		return err == nil, errors.Join(err, fmt.Errorf("%w: %d of them", errForeignKeys, n))
	}
	return err == nil, err
}

// enterListing enters the totals of the listing.
func (e *Emitter) enterListing() {
	l := &e.listing
	l.keys, l.hashes = l.keys[:0], l.hashes[:0]
	for i := range l.totals {
		start := len(l.keys)
		l.keys = append(l.keys, l.totals[i].Key...)
		l.hashes = append(l.hashes, e.series.Hash(l.keys[start:]))
	}
	l.fetched = e.series.Fetch(l.fetched[:0], l.hashes)
	keys := l.keys
	for i := range l.totals {
		total := &l.totals[i]
		s, _ := e.series.GetHashed(keys[:len(total.Key)], l.hashes[i])
		keys = keys[len(total.Key):]
		e.enterTotal(s, total)
	}
	clear(l.totals)
	l.totals = l.totals[:0]
}

// enterTotal enters a total in the reading of its series, which is nil for a key that was not met before.
func (e *Emitter) enterTotal(s *series, total *store.Total) {
	if s == nil {
		if metric, ok := serieskey.MetricOf(total.Key); ok && !e.emits(metric) {
			return
		}
		if s = e.seriesOf(total.Key); s == nil {
			e.listing.foreign++
			return
		}
	}
	if s.group.emitted {
		e.enter(s, total)
	}
}

// enter enters a total in the reading of a series: beside what another key of it has.
func (e *Emitter) enter(s *series, total *store.Total) {
	r := reading{total.Value, total.Start.UnixNano()}
	if s.keys != nil {
		e.enterKey(s, total.Key, r)
	}
	if s.listed != e.number {
		s.listed, s.read = e.number, r
	} else {
		s.read.value, _ = saturating.Add(s.read.value, r.value)
		s.read.start = min(s.read.start, r.start)
	}
	if s.state == unmet {
		s.sent, _ = saturating.Add(s.sent, total.Restored)
		s.changed = max(s.changed, total.Last.UnixNano())
	}
}

// listUncounted reads, as 0, the keys that exist before their first record.
func (e *Emitter) listUncounted(descriptions []store.Description) {
	for _, d := range descriptions {
		if d.Key != "" && e.emits(d.Metric) {
			e.enterUncounted(d.Key)
		}
	}
}

// enterUncounted enters 0 for a key, unless the store has it.
func (e *Emitter) enterUncounted(key string) {
	s, _, known := e.series.Get([]byte(key))
	if known && s.listed == e.number {
		return
	}
	start := e.now
	if known && s.uncounted {
		start = s.origin
	}
	if !known {
		if s = e.seriesOf(key); s == nil {
			return
		}
	}
	at := time.Unix(0, start)
	e.enter(s, &store.Total{Key: key, Start: at, Last: at})
	s.uncounted = true
}

func (e *Emitter) emits(metric string) bool {
	return e.settings.Metrics == nil || slices.Contains(e.settings.Metrics, metric)
}
