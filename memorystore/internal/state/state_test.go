// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/statestorage"
)

var update = flag.Bool("update", false, "write the golden files anew; never for a version that was released")

const owner = "tally_memory/main"

// inBucket returns n keys of a bucket in ascending order.
func inBucket(section, n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		key := `["m",{},{"n":` + strings.Repeat("1", i%7+1) + hex.EncodeToString(binary.AppendUvarint(nil, uint64(i))) + `}]`
		if Bucket(key) == section {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func bucketBlob() Blob {
	keys := inBucket(17, 3)
	return Blob{Owner: owner, Section: 17, Generation: 3, Entries: []Entry{
		{Key: keys[0], Value: 1, Start: 1_700_000_000_000_000_001, Last: 1_700_000_000_000_000_002},
		{Key: keys[1], Value: 300, Start: -1, Last: math.MaxInt64},
		{Key: keys[2], Value: math.MaxInt, Start: math.MinInt64, Last: 0},
	}}
}

func metaBlob() Blob {
	b := Blob{Owner: owner, Section: Meta, Generation: math.MaxUint64, Descriptions: []Description{
		{}, {"log.record.count", "The number of log records observed.", "{record}", "records"},
	}, Forgotten: []Forgotten{{"", 1}, {"log.record.count", math.MaxInt}}, Erasure: Erasure{Time: 1_700_000_000_000_000_003}}
	copy(b.Erasure.Salt[:], "a salt of 16 by.")
	copy(b.Erasure.Hash[:], "a hash that is as long as SHA256")
	b.Generations[0], b.Generations[17], b.Generations[255] = 1, 3, math.MaxUint64
	return b
}

func TestRoundTrip(t *testing.T) {
	for _, b := range []Blob{
		bucketBlob(), metaBlob(),
		{Owner: "", Section: 0, Generation: 1, Entries: []Entry{}},
		{Section: Meta, Generation: 1, Descriptions: []Description{}, Forgotten: []Forgotten{}},
	} {
		got, err := Decode(Encode(b), b.Owner, b.Section)
		require.NoError(t, err)
		assert.Equal(t, b, got)
	}
}

// What an earlier release wrote is read.
func TestGoldenEarlierVersions(t *testing.T) {
	v3 := metaBlob()
	v3.Erasure = Erasure{}
	v2 := v3
	v2.Descriptions = slices.Clone(v3.Descriptions)
	v2.Descriptions[1].Sum = ""
	v1 := v2
	v1.Forgotten = nil
	for name, b := range map[string]Blob{
		"v1-bucket": bucketBlob(), "v1-meta": v1, "v2-bucket": bucketBlob(), "v2-meta": v2, "v3-bucket": bucketBlob(), "v3-meta": v3,
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
		require.NoError(t, err)
		got, err := Decode(data, owner, b.Section)
		require.NoError(t, err)
		assert.Equal(t, b, got)
	}
}

func TestGoldenVersion4(t *testing.T) {
	for name, b := range map[string]Blob{"bucket": bucketBlob(), "meta": metaBlob()} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "v4-"+name+".bin")
			if *update {
				require.NoError(t, os.WriteFile(path, Encode(b), 0o600))
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			got, err := Decode(data, owner, b.Section)
			require.NoError(t, err)
			assert.Equal(t, b, got)
			assert.Equal(t, data, Encode(b))
		})
	}
}

func TestBucketsAndNamesAreForEver(t *testing.T) {
	assert.Equal(t, 0x99, Bucket("")) // xxHash64 of the empty string is ef46db3751d8e999
	assert.Equal(t, "b000.0", Name(0, 0))
	assert.Equal(t, "b255.1", Name(255, 1))
	assert.Equal(t, "meta.1", Name(Meta, 1))
}

func TestFault_storage_every_bit_and_every_cut(t *testing.T) {
	tried := 0
	for _, b := range []Blob{bucketBlob(), metaBlob()} {
		data := Encode(b)
		for i := range len(data) * 8 {
			data[i/8] ^= 1 << (i % 8)
			_, err := Decode(data, owner, b.Section)
			require.ErrorIs(t, err, statestorage.ErrDamaged, "bit %d", i)
			data[i/8] ^= 1 << (i % 8)
		}
		for n := range data {
			_, err := Decode(data[:n], owner, b.Section)
			require.ErrorIs(t, err, statestorage.ErrDamaged, "%d bytes", n)
		}
		_, err := Decode(append(data, 0), owner, b.Section)
		require.ErrorIs(t, err, statestorage.ErrDamaged)
		_, err = Decode(append(data, data...), owner, b.Section)
		require.ErrorIs(t, err, statestorage.ErrDamaged)
		tried += len(data)*8 + len(data)
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{40, 41}, Claim: "each bit flipped in a stored part, and each cut of it: found", Rounds: tried, Unit: "changes", Fired: tried,
	})
}

func TestRefusals(t *testing.T) {
	keys := inBucket(17, 2)
	blob := func(change func(*Blob)) []byte {
		b := bucketBlob()
		change(&b)
		return Encode(b)
	}
	patched := func(at int, bytes ...byte) []byte {
		data := Encode(bucketBlob())
		data = data[:len(data)-checksumSize]
		copy(data[at:], bytes)
		return appendChecksum(data)
	}
	version := len(magic)
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"newer":           {patched(version, 0, Version+1), statestorage.ErrNewer},
		"newest":          {patched(version, 0xff, 0xff), statestorage.ErrNewer},
		"version 0":       {patched(version, 0, 0), statestorage.ErrDamaged},
		"other kind":      {patched(version+3, 'T'), ErrForeign},
		"other owner":     {blob(func(b *Blob) { b.Owner = "tally_memory/other" }), ErrForeign},
		"no owner":        {blob(func(b *Blob) { b.Owner = "" }), ErrForeign},
		"other section":   {blob(func(b *Blob) { b.Section = 18 }), ErrForeign},
		"meta":            {Encode(metaBlob()), ErrForeign},
		"other layout":    {patched(version+2+len(kind)+1+len(owner)+1+2, 2, 0), ErrForeign},
		"generation 0":    {blob(func(b *Blob) { b.Generation = 0 }), statestorage.ErrDamaged},
		"value 0":         {blob(func(b *Blob) { b.Entries[0].Value = 0 }), statestorage.ErrDamaged},
		"negative value":  {blob(func(b *Blob) { b.Entries[0].Value = -1 }), statestorage.ErrDamaged},
		"key twice":       {blob(func(b *Blob) { b.Entries[1].Key = b.Entries[0].Key }), statestorage.ErrDamaged},
		"out of order":    {blob(func(b *Blob) { b.Entries[0].Key, b.Entries[1].Key = keys[1], keys[0] }), statestorage.ErrDamaged},
		"key elsewhere":   {blob(func(b *Blob) { b.Entries = []Entry{{Key: inBucket(18, 1)[0], Value: 1}} }), statestorage.ErrDamaged},
		"text":            {[]byte("hello, world; this is not a state"), statestorage.ErrDamaged},
		"empty":           {[]byte{}, statestorage.ErrDamaged},
		"header alone":    {appendChecksum([]byte(magic + "\x00\x01")), statestorage.ErrDamaged},
		"no list":         {appendChecksum(header(17)), statestorage.ErrDamaged},
		"text too long":   {appendChecksum([]byte(magic + "\x00\x01\x05ta")), statestorage.ErrDamaged},
		"text far beyond": {appendChecksum([]byte(magic + "\x00\x01\xff\xff\xff\xff\x7ftally")), statestorage.ErrDamaged},
		"long uvarint":    {appendChecksum(append(header(17), 0x80, 0)), statestorage.ErrDamaged},
		"huge count":      {appendChecksum(append(header(17), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)), statestorage.ErrDamaged},
		"overlong number": {appendChecksum(append(header(17), bytes.Repeat([]byte{0xff}, 11)...)), statestorage.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(tt.data, owner, 17)
			require.ErrorIs(t, err, tt.want)
		})
	}
	_, err := Decode(append(append([]byte(nil), Encode(metaBlob())...), 1), owner, Meta)
	require.ErrorIs(t, err, statestorage.ErrDamaged)
}

// header returns a blob up to its body.
func header(section int) []byte {
	size := len(magic) + 2 + 1 + len(kind) + 1 + len(owner) + 2 + 2 + 8
	return Encode(Blob{Owner: owner, Section: section, Generation: 1})[:size]
}

func TestDescriptionsOutOfOrder(t *testing.T) {
	b := metaBlob()
	slices.Reverse(b.Descriptions)
	_, err := Decode(Encode(b), owner, Meta)
	require.ErrorIs(t, err, statestorage.ErrDamaged)
	b.Descriptions[0] = b.Descriptions[1]
	_, err = Decode(Encode(b), owner, Meta)
	require.ErrorIs(t, err, statestorage.ErrDamaged, "twice")
}

// What bounds the memory that a count can ask for is what an element takes at the least.
func TestCountsAreBoundedByTheInput(t *testing.T) {
	assert.Len(t, appendEntries(nil, make([]Entry, 1)), 1+minEntrySize)
	none, one := Blob{}, Blob{Descriptions: make([]Description, 1), Forgotten: make([]Forgotten, 1)}
	assert.Equal(t, minDescriptionSize+1+minForgottenSize, len(one.appendMeta(nil))-len(none.appendMeta(nil)))
	for n, want := range map[byte]int{0: 0, 4: 4, 5: 5, 6: 0, 100: 0} {
		r := reader{rest: append([]byte{n}, make([]byte, 5*minEntrySize+1)...)}
		assert.Equal(t, want, r.count(minEntrySize), "%d", n)
		assert.Equal(t, n > 5, r.bad, "%d", n)
	}
}

func TestAllocDecodeIsBoundedByTheInput(t *testing.T) {
	// a count that the bytes after it cannot hold asks for no memory
	data := appendChecksum(append(binary.AppendUvarint(header(17), 1<<40), make([]byte, 100)...))
	assert.Less(t, testing.AllocsPerRun(10, func() { _, _ = Decode(data, owner, 17) }), 20.0)
}

func TestForgottenOutOfOrder(t *testing.T) {
	for _, list := range [][]Forgotten{{{"b", 1}, {"a", 1}}, {{"a", 1}, {"a", 1}}, {{"a", 0}}, {{"a", -1}}} {
		b := metaBlob()
		b.Forgotten = list
		_, err := Decode(Encode(b), owner, Meta)
		require.ErrorIs(t, err, statestorage.ErrDamaged, "%v", list)
	}
}

// There is one encoding of no erasure, and no list of two.
func TestErasureIsOneOrNone(t *testing.T) {
	meta := Encode(Blob{Owner: owner, Section: Meta, Generation: 1})
	body := meta[:len(meta)-checksumSize-1]
	zero := make([]byte, len(Erasure{}.Salt)+len(Erasure{}.Hash)+8)
	one := append([]byte{1}, bytes.Repeat([]byte{7}, len(zero))...)
	for name, list := range map[string][]byte{
		"zero": append([]byte{1}, zero...), "two": append(append([]byte{2}, one[1:]...), one[1:]...), "cut": one[:len(one)-1],
		"more": append(slices.Clone(one), 0), "missing": nil,
	} {
		_, err := Decode(appendChecksum(append(slices.Clone(body), list...)), owner, Meta)
		require.ErrorIs(t, err, statestorage.ErrDamaged, name)
	}
	_, err := Decode(appendChecksum(append(slices.Clone(body), one...)), owner, Meta)
	require.NoError(t, err)
}

// FuzzDecode: it never panics, and whatever decodes encodes to the same bytes, but for the older version. The fuzzer
// cannot guess a checksum, so the input is tried with a right one as well, and as a body behind a right header.
func FuzzDecode(f *testing.F) {
	for _, b := range []Blob{bucketBlob(), metaBlob()} {
		data := Encode(b)
		f.Add(data)
		f.Add(data[:len(data)-checksumSize])
		f.Add(data[len(header(17)) : len(data)-checksumSize])
	}
	for _, name := range []string{"v1-bucket.bin", "v1-meta.bin", "v2-meta.bin", "v3-meta.bin"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, section := range []int{17, Meta} {
			for _, input := range [][]byte{
				slices.Clone(data), appendChecksum(slices.Clone(data)), appendChecksum(append(header(section), data...)),
			} {
				b, err := Decode(input, owner, section)
				if err != nil {
					continue
				}
				if input[len(magic)+1] < Version { // it is written anew as the present one
					again, err := Decode(Encode(b), owner, section)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprint(b), fmt.Sprint(again)) // no list is as good as an empty one
					continue
				}
				if !bytes.Equal(Encode(b), input) {
					t.Fatalf("%x decodes to %v, which encodes to %x", input, b, Encode(b))
				}
			}
		}
	})
}
