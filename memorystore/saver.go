// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/statestorage"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
	"github.com/logtally/tallyprocessor/store"
)

var errLost = errors.New("state is missing, or older than the last flush")

// saver keeps a store in a storage client. It is serial; the store may be counted in meanwhile.
type saver struct {
	client *statestorage.Client
	owner  string
	store  *memoryStore

	saved    [state.Sections]slot
	setAside []*storage.Operation // moves what load found damaged; goes ahead of the next flush

	request request
	erased  int           // keys of its metrics, which were not restored
	erasure state.Erasure // the request that was done last
}

// slot is where the last complete state of a section is.
type slot struct {
	generation uint64 // 0 = there is none
	number     int
}

// loaded is what was found in the slots of all sections.
type loaded struct {
	blobs  [state.Sections]state.Blob // generation 0 = none
	broken sectionSet                 // have a damage
}

func newSaver(client *statestorage.Client, owner string, s *memoryStore, r request) *saver {
	v := &saver{client: client, owner: owner, store: s, request: r}
	for section := range v.saved {
		v.saved[section].number = state.Slots - 1 // so the first write goes to slot 0
	}
	return v
}

// load fills the store from the storage and returns what was damaged. The next flush sets that aside and writes the
// sections that it was part of anew. An error means that nothing was read, written or restored.
func (v *saver) load(ctx context.Context) ([]statestorage.Damage, error) {
	var l loaded
	damages, err := v.client.Load(ctx, slotNames(), func(i int, value []byte) error {
		return v.choose(&l, i/state.Slots, i%state.Slots, value)
	})
	if err != nil {
		return nil, err
	}
	for _, d := range damages {
		v.setAside = append(v.setAside, d.SetAside()...)
	}
	damages = append(damages, v.findLost(&l)...)
	v.restore(&l)
	return damages, nil
}

// slotNames returns the names of all slots, those of a section one after the other.
func slotNames() []string {
	names := make([]string, 0, state.Sections*state.Slots)
	for section := range state.Sections {
		for number := range state.Slots {
			names = append(names, state.Name(section, number))
		}
	}
	return names
}

// choose takes a valid slot, unless the other one has a higher generation.
func (v *saver) choose(l *loaded, section, number int, value []byte) error {
	b, err := state.Decode(value, v.owner, section)
	switch {
	case err != nil:
		l.broken[section] = true // or all is refused
	case b.Generation > l.blobs[section].Generation:
		l.blobs[section] = b
		v.saved[section] = slot{generation: b.Generation, number: number}
	}
	return err
}

// findLost finds the buckets whose last flush is not there although no slot is damaged: a storage that is
// damaged itself loses slots.
func (v *saver) findLost(l *loaded) (lost []statestorage.Damage) {
	for section, generation := range l.blobs[state.Meta].Generations {
		found := &v.saved[section]
		if found.generation >= generation {
			continue
		}
		if !l.broken[section] {
			l.broken[section] = true
			lost = append(lost, statestorage.Damage{
				Name: state.Name(section, 1-found.number),
				Err:  fmt.Errorf("%w: found generation %d instead of %d", errLost, found.generation, generation),
			})
		}
		found.generation = generation // the next one must be later
	}
	return lost
}

func (v *saver) restore(l *loaded) {
	v.erasure = l.blobs[state.Meta].Erasure
	var erased []string // metrics
	if !v.request.is(v.erasure) {
		erased = v.request.metrics
	}
	for _, b := range l.blobs {
		v.restoreTotals(b.Entries, erased)
	}
	for _, d := range l.blobs[state.Meta].Descriptions {
		if !slices.Contains(erased, d.Metric) {
			v.store.Store.Describe(store.Description{Metric: d.Metric, Description: d.Description, Unit: d.Unit, Sum: d.Sum})
		}
	}
	for _, f := range l.blobs[state.Meta].Forgotten {
		if !slices.Contains(erased, f.Metric) {
			v.store.RestoreForgotten(f.Metric, f.Total)
		}
	}
	v.store.markAllDirty(&l.broken)
}

// restoreTotals restores all but those of the metrics erased.
func (v *saver) restoreTotals(entries []state.Entry, erased []string) {
	for _, e := range entries {
		if metric, ok := serieskey.MetricOf(e.Key); ok && slices.Contains(erased, metric) {
			v.erased++
			continue
		}
		v.store.Store.Restore(store.Total{
			Key: e.Key, Value: e.Value, Start: time.Unix(0, e.Start), Last: time.Unix(0, e.Last),
		})
	}
}

// flush writes what has changed; wrote says whether there was anything. After an error all of it counts as changed
// still, and the next flush writes to the same slots, so the last complete state is never touched.
func (v *saver) flush(ctx context.Context) (wrote bool, err error) {
	dirty, blobs, err := v.collect(ctx)
	if dirty == (sectionSet{}) {
		return false, nil
	}
	if err == nil {
		err = v.write(ctx, &dirty, &blobs)
	}
	if err != nil {
		v.store.markAllDirty(&dirty)
		return true, fmt.Errorf("write state: %w", err)
	}
	v.setAside = nil
	return true, nil
}

// collect returns the sections to be written, and their content in order. Meta is one of them if there are any, since
// it has the generations of the others.
func (v *saver) collect(ctx context.Context) (dirty sectionSet, blobs [state.Sections]state.Blob, err error) {
	v.store.WithoutForgetting(func() { dirty, blobs, err = v.collectNow(ctx) })
	for _, b := range blobs {
		slices.SortFunc(b.Entries, func(a, b state.Entry) int { return strings.Compare(a.Key, b.Key) })
	}
	return dirty, blobs, err
}

// collectNow is collect, unsorted, while no key is dropped: a processor that starts or shuts down waits for it.
func (v *saver) collectNow(ctx context.Context) (dirty sectionSet, blobs [state.Sections]state.Blob, err error) {
	dirty, found := v.store.takeDirty()
	if !found && len(v.setAside) == 0 {
		return dirty, blobs, nil
	}
	dirty[state.Meta] = true
	for t, err := range v.store.Totals(ctx) {
		if err != nil {
			return dirty, blobs, err
		}
		if section := state.Bucket(t.Key); dirty[section] {
			blobs[section].Entries = append(blobs[section].Entries,
				state.Entry{Key: t.Key, Value: t.Value, Start: t.Start.UnixNano(), Last: t.Last.UnixNano()})
		}
	}
	blobs[state.Meta].Descriptions = v.descriptions()
	blobs[state.Meta].Forgotten = v.forgotten()
	blobs[state.Meta].Erasure = v.erasure
	return dirty, blobs, nil
}

func (v *saver) write(ctx context.Context, dirty *sectionSet, blobs *[state.Sections]state.Blob) error {
	saved := v.saved
	ops := slices.Clone(v.setAside)
	for section, in := range dirty { // Meta is the last
		if !in {
			continue
		}
		next := slot{generation: saved[section].generation + 1, number: 1 - saved[section].number}
		saved[section] = next
		b := blobs[section]
		b.Owner, b.Section, b.Generation = v.owner, section, next.generation
		if section == state.Meta {
			for i := range b.Generations {
				b.Generations[i] = saved[i].generation
			}
		}
		ops = append(ops, storage.SetOperation(state.Name(section, next.number), state.Encode(b)))
	}
	if err := v.client.Batch(ctx, ops...); err != nil {
		return err
	}
	v.saved = saved
	return nil
}

func (v *saver) descriptions() []state.Description {
	var list []state.Description
	for _, d := range v.store.Descriptions() {
		// each start tells the rest anew
		list = append(list, state.Description{Metric: d.Metric, Description: d.Description, Unit: d.Unit, Sum: d.Sum})
	}
	slices.SortFunc(list, func(a, b state.Description) int { return cmp.Compare(a.Metric, b.Metric) })
	return list
}

func (v *saver) forgotten() []state.Forgotten {
	var list []state.Forgotten
	for metric, f := range v.store.Forgotten() {
		list = append(list, state.Forgotten{Metric: metric, Total: f.Total})
	}
	slices.SortFunc(list, func(a, b state.Forgotten) int { return cmp.Compare(a.Metric, b.Metric) })
	return list
}
