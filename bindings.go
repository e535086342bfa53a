package tallyprocessor

import (
	"encoding/binary"
	"sync"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/index"
)

// minBindings is how many Counters are remembered at least, however few keys are admitted.
const minBindings = 4096

// bindings remember the Counters of series by their identities in batches, so that a series that was seen before is
// counted without making the text of its key. They hold nothing that could not be found anew: what is forgotten costs time.
// Only series that are counted under their own keys are in them.
type bindings struct {
	admitted func() int // keys that the limits have admitted

	// mu guards the fields below. A worker takes the read lock once for many series.
	mu        sync.RWMutex
	counters  *index.Index[Counter] // by metric, number of the resource, and attributes
	resources map[string]uint64     // numbers, by their compact form in batches; 0 is none
	last      uint64                // number that was given to a resource; none is given twice
	limit     int                   // of the lengths of counters and resources, before they are looked at
}

func newBindings(admitted func() int) *bindings {
	b := &bindings{admitted: admitted}
	b.clear()
	return b
}

func (b *bindings) clear() {
	b.counters, b.resources, b.limit = index.New[Counter](), map[string]uint64{}, minBindings
}

// appendResources appends the number of each resource of a batch, 0 for one that is not known.
func (b *bindings) appendResources(dst []uint64, batch *extract.Batch) []uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for r := range batch.Resources() {
		dst = append(dst, b.resources[string(batch.Resource(r))])
	}
	return dst
}

// appendBinding appends what stands for a series.
func appendBinding(dst []byte, metric int, resource uint64, attributes []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(metric))
	return append(binary.AppendUvarint(dst, resource), attributes...)
}

// put remembers the Counter of a series, and returns the number of its resource.
func (b *bindings) put(metric int, resource, attributes []byte, counter Counter) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.makeRoom()
	number, known := b.resources[string(resource)]
	if !known {
		b.last++
		number = b.last
		b.resources[string(resource)] = number
	}
	b.counters.Put(string(appendBinding(nil, metric, number, attributes)), counter)
	return number
}

// makeRoom forgets everything when there is much more than keys: those that were dropped leave their Counters behind, and
// texts that become one key, by their invalid bytes, have a Counter each.
func (b *bindings) makeRoom() {
	if b.counters.Len() < b.limit && len(b.resources) < b.limit {
		return
	}
	if b.limit = max(minBindings, 2*b.admitted()); b.counters.Len() >= b.limit || len(b.resources) >= b.limit {
		b.clear()
	}
}

// shrink forgets everything when keys were dropped and too much is left of them.
func (b *bindings) shrink() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = 0
	b.makeRoom()
}
