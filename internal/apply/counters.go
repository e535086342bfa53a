// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/binary"
	"sync"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/hashmap"
	"github.com/logtally/tallyprocessor/store"
)

// minCounters is how many Counters are remembered at least, however few keys are admitted.
const minCounters = 4096

// counters remember the Counters of series by their identities in batches, so that a series that was seen before is
// counted without making the text of its key. They hold nothing that could not be found anew: what is forgotten costs
// time. Only series that are counted under their own keys are in them.
type counters struct {
	admitted func() int // keys that the limits have admitted

	// mu guards the fields below. A worker takes the read lock once for many series.
	mu        sync.RWMutex
	bySeries  *hashmap.Map[store.Counter] // by metric, number of the resource, and attributes
	resources map[string]uint64           // numbers, by their compact form in batches; 0 is none
	last      uint64                      // number that was given to a resource; none is given twice
	limit     int                         // of the lengths of counters and resources, before they are looked at
}

func newCounters(admitted func() int) *counters {
	b := &counters{admitted: admitted}
	b.clear()
	return b
}

func (b *counters) clear() {
	b.bySeries, b.resources, b.limit = hashmap.New[store.Counter](), map[string]uint64{}, minCounters
}

// appendResources appends the number of each resource of a batch, 0 for one that is not known.
func (b *counters) appendResources(dst []uint64, batch *extract.Batch) []uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for r := range batch.Resources() {
		dst = append(dst, b.resources[string(batch.Resource(r))])
	}
	return dst
}

// appendSeries appends what stands for a series.
func appendSeries(dst []byte, metric int, resource uint64, attributes []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(metric))
	return append(binary.AppendUvarint(dst, resource), attributes...)
}

// put remembers the Counter of a series, and returns the number of its resource.
func (b *counters) put(metric int, resource, attributes []byte, counter store.Counter) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.makeRoom()
	number, known := b.resources[string(resource)]
	if !known {
		b.last++
		number = b.last
		b.resources[string(resource)] = number
	}
	b.bySeries.Put(string(appendSeries(nil, metric, number, attributes)), counter)
	return number
}

// makeRoom forgets everything when there is much more than keys: those that were dropped leave their Counters behind,
// and texts that become one key, by their invalid bytes, have a Counter each.
func (b *counters) makeRoom() {
	if b.bySeries.Len() < b.limit && len(b.resources) < b.limit {
		return
	}
	if b.limit = max(minCounters, 2*b.admitted()); b.bySeries.Len() >= b.limit || len(b.resources) >= b.limit {
		b.clear()
	}
}

// shrink forgets everything when keys were dropped and too much is left of them.
func (b *counters) shrink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = 0
	b.makeRoom()
}

// fetchFrom is how many keys are more than the caches next to a core hold.
const fetchFrom = 4096

// prefetch has what is needed to find the Counters of some series that come next.
type prefetch struct {
	from   int    // the first of the series
	keys   []byte // end to end
	ends   []int  // of keys; nothing is between them for a series that cannot be known
	hashes []uint64
	read   []uint32
}

// reset makes l ready for the series of a batch from one on.
func (l *prefetch) reset(from int) { l.from, l.ends = from, l.ends[:0] }

// end returns the first series that is not prepared.
func (l *prefetch) end() int { return l.from + len(l.ends) }

// look prepares the series of a batch from one on, up to another. The caller has the read lock.
func (l *prefetch) look(b *counters, batch *extract.Batch, resources []uint64, from, to int) {
	l.from, l.keys, l.ends, l.hashes = from, l.keys[:0], l.ends[:0], l.hashes[:0]
	for i := from; i < to; i++ {
		start := len(l.keys)
		resource, attributes := batch.Identity(i)
		if series := batch.Series(i); !series.TooLong && resources[resource] != 0 {
			l.keys = appendSeries(l.keys, series.Metric, resources[resource], attributes)
		}
		l.ends = append(l.ends, len(l.keys))
		l.hashes = append(l.hashes, b.bySeries.Hash(l.keys[start:]))
	}
	if b.bySeries.Len() > fetchFrom {
		l.read = b.bySeries.Fetch(l.read[:0], l.hashes)
	}
}

// counter returns the Counter of a series that was prepared, and whether it is known. It may have become known since:
// then it is found in another way.
func (l *prefetch) counter(b *counters, i int) (store.Counter, bool) {
	n, start := i-l.from, 0
	if n > 0 {
		start = l.ends[n-1]
	}
	return b.bySeries.GetHashed(l.keys[start:l.ends[n]], l.hashes[n])
}
