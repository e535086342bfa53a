// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"sync"

	"github.com/apache/datasketches-go/common"
	"github.com/apache/datasketches-go/frequencies"

	"github.com/logtally/tallyprocessor/internal/capability"
)

// sketchSize is how many slots the sketch of a metric has, of which it uses three quarters. With that size no estimate
// is further from the truth than 3.5/1024 of all that overflowed, 0.34 % (GetEpsilonFrequencyItemsSketch, after
// Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams", IMC 2017).
const sketchSize = 1024

// overflowKeeper is what a Store remembers of keys that are counted under an overflow key. The zero value is ready.
type overflowKeeper struct {
	// mu guards sketches.
	mu       sync.Mutex
	sketches map[string]*sketch // by metric
}

// sketch is the frequent-items sketch of one metric.
type sketch struct {
	// mu guards items.
	mu    sync.Mutex
	items *frequencies.ItemsSketch[string]
}

// seededHash makes sure that nobody can choose keys that collide.
type seededHash struct{ seed maphash.Seed }

func (h seededHash) Hash(key string) uint64 { return maphash.String(h.seed, key) }

// sketch returns the sketch of a metric; nil when it has none and none is to be made.
func (o *overflowKeeper) sketch(metric string, create bool) *sketch {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.sketches[metric]
	if ok || !create {
		return s
	}
	items, err := frequencies.NewFrequencyItemsSketchWithMaxMapSize(sketchSize, seededHash{maphash.MakeSeed()}, common.ItemSketchStringSerDe{})
	if err != nil {
		return nil // the size is none that the library takes; a test would fail
	}
	if o.sketches == nil {
		o.sketches = map[string]*sketch{}
	}
	s = &sketch{items: items}
	o.sketches[metric] = s
	return s
}

// Overflowed notes that n was added under an overflow key of metric, instead of under key. It takes some hundred
// nanoseconds. Once the notes of a metric add up to the largest int64 further ones are dropped.
func (o *overflowKeeper) Overflowed(metric, key string, n int) {
	if s := o.sketch(metric, true); s != nil && n > 0 {
		s.note(key, int64(n))
	}
}

// Overflows returns the heaviest keys noted for a metric.
func (o *overflowKeeper) Overflows(metric string, limit int) []capability.Overflow {
	s := o.sketch(metric, false)
	if s == nil || limit <= 0 {
		return nil
	}
	list := s.list()
	slices.SortFunc(list, func(a, b capability.Overflow) int {
		return cmp.Or(cmp.Compare(b.Estimate, a.Estimate), cmp.Compare(a.Key, b.Key))
	})
	return slices.Clone(list[:min(limit, len(list))])
}

func (s *sketch) note(key string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= math.MaxInt64-s.items.GetStreamLength() {
		// It fails for a weight below 0 and for a table that a purge did not make smaller, which is a defect of the
		// library: a note that is lost then costs detail, and no count.
		_ = s.items.UpdateMany(key, n)
	}
}

// list returns all keys that the sketch holds, in no order.
func (s *sketch) list() []capability.Overflow {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Without a threshold of its own the library leaves out keys below the error, which the caller's limit does as
	// well.
	rows, err := s.items.GetFrequentItems(frequencies.ErrorTypeEnum.NoFalseNegatives)
	if err != nil {
		return nil
	}
	list := make([]capability.Overflow, 0, len(rows))
	for _, row := range rows {
		list = append(list, capability.Overflow{
			Key: row.GetItem(), Estimate: int(row.GetUpperBound()), MaxError: int(row.GetUpperBound() - row.GetLowerBound()),
		})
	}
	return list
}
