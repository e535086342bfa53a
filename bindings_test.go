package tallyprocessor

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Whatever comes, the Counters that are remembered are not many more than the keys; what was put last is found.
func TestBindingsAreBounded(t *testing.T) {
	admitted := 10
	b := newBindings(func() int { return admitted })
	store := NewMemoryStore()
	counter := store.Bind("a")
	most := 0
	for n := range uint32(50_000) {
		attributes := binary.BigEndian.AppendUint32(nil, n)
		resource := attributes[:3] // each for 256 series
		number := b.put(1, resource, attributes, counter)
		_, _, found := b.counters.Get(appendBinding(nil, 1, number, attributes))
		assert.True(t, found)
		most = max(most, b.counters.Len())
	}
	assert.Equal(t, minBindings, most)

	admitted = 100_000
	for n := range uint32(50_000) {
		b.put(1, []byte("r"), binary.BigEndian.AppendUint32(nil, n), counter)
	}
	assert.Greater(t, b.counters.Len(), 50_000-minBindings, "there are more keys than that")
	admitted = 20_000
	b.shrink()
	assert.Zero(t, b.counters.Len(), "most of the keys were dropped")
	for n := range uint32(10_000) {
		b.put(1, binary.BigEndian.AppendUint32(nil, n), nil, counter)
	}
	admitted = 6000
	b.shrink()
	assert.Len(t, b.resources, 10_000, "less than twice as many as keys are kept")
	admitted = 4000
	b.shrink()
	assert.Empty(t, b.resources)
}
