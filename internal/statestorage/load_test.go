// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package statestorage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var errForeign = errors.New("of another")

// values is a storage client without faults.
type values map[string][]byte

func (v values) Batch(_ context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = v[op.Key]
		case storage.Set:
			v[op.Key] = op.Value
		case storage.Delete:
			delete(v, op.Key)
		}
	}
	return nil
}

func (values) Get(context.Context, string) ([]byte, error) { panic("not used") }
func (values) Set(context.Context, string, []byte) error   { panic("not used") }
func (values) Delete(context.Context, string) error        { panic("not used") }
func (values) Close(context.Context) error                 { return errForeign }

func clientOf(v values) *Client {
	c := &Client{inner: v, free: make(chan struct{}, 1)}
	c.free <- struct{}{}
	return c
}

// Whatever is there, each value is decoded once, what is damaged is set aside byte for byte and not found again, all
// else stays as it is, and a value to be refused leaves everything as it was.
func TestLoadAnything(t *testing.T) {
	outcome := map[string]int{}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := values{"not read": []byte("as it is")}
		names := make([]string, r.IntN(20))
		kinds := []string{"whole", "damaged", ""}
		if seed%5 == 0 {
			kinds = append(kinds, "foreign")
		}
		count := map[string]int{}
		for i := range names {
			names[i] = fmt.Sprintf("part %d", i)
			kind := kinds[r.IntN(len(kinds))]
			if count[kind]++; kind != "" {
				v[names[i]] = []byte(kind)
			}
		}
		before := maps.Clone(v)
		decoded := map[string]bool{}
		decode := func(i int, value []byte) error {
			assert.Equal(t, before[names[i]], value)
			assert.False(t, decoded[names[i]], "twice")
			decoded[names[i]] = true
			return map[string]error{"damaged": fmt.Errorf("cut: %w", ErrDamaged), "foreign": errForeign}[string(value)]
		}
		c := clientOf(v)
		damages, err := c.Load(t.Context(), names, decode)
		assert.Equal(t, before, v, "it only reads")
		if count["foreign"] > 0 {
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorIs(t, err, errForeign)
			assert.Empty(t, damages)
			outcome["refused"]++
			continue
		}
		require.NoError(t, err)
		require.Len(t, damages, count["damaged"])
		assert.Len(t, decoded, len(names)-count[""])
		for _, d := range damages {
			require.NoError(t, c.Batch(t.Context(), d.SetAside()...))
			assert.Equal(t, []byte("damaged"), v[d.Aside])
			assert.ErrorIs(t, d.Err, ErrDamaged)
			delete(v, d.Aside)
			delete(before, d.Name)
			outcome["damaged"]++
		}
		assert.Equal(t, before, v)
		decoded = map[string]bool{}
		damages, err = c.Load(t.Context(), names, decode)
		require.NoError(t, err)
		assert.Empty(t, damages)
	}
	assert.Greater(t, outcome["refused"], 20)
	assert.Greater(t, outcome["damaged"], 500)
}

func TestLoadFromAStorageThatIsAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := clientOf(values{}).Load(ctx, []string{"a"}, func(int, []byte) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "read state: ")
}

func TestCheckVersion(t *testing.T) {
	for version, want := range map[int]error{-1: ErrDamaged, 0: ErrDamaged, 1: nil, 3: nil, 4: ErrNewer, 1 << 16: ErrNewer} {
		require.ErrorIs(t, CheckVersion(version, 3), want)
	}
}

// The checksum is part of the formats: it never changes.
func TestChecksumIsForEver(t *testing.T) {
	assert.Equal(t, uint32(0xe3069283), Checksum([]byte("123456789")))
	assert.Zero(t, Checksum(nil))
}

func TestCloseSaysWhatFailed(t *testing.T) {
	err := clientOf(values{}).Close(t.Context())
	require.ErrorIs(t, err, errForeign)
	assert.ErrorContains(t, err, "close storage client: ")
}
