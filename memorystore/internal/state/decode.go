// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/logtally/tallyprocessor/internal/statestorage"
)

// The fewest bytes that a list element takes: what bounds the memory that a count in the input can ask for.
const (
	minEntrySize       = 1 + 1 + 8 + 8
	minDescriptionSize = 1 + 1 + 1 // one more since version 3
	minForgottenSize   = 1 + 1
)

// Decode reads the blob of a section that owner wrote. Its error is ErrForeign, or ErrDamaged or ErrNewer of
// package statestorage, with details.
// It keeps nothing of data and allocates in proportion to its size.
func Decode(data []byte, owner string, section int) (Blob, error) {
	if len(data) == 0 {
		return Blob{}, fmt.Errorf("%w: it is empty", statestorage.ErrDamaged)
	}
	if len(data) < len(magic)+2+checksumSize || string(data[:len(magic)]) != magic {
		return Blob{}, fmt.Errorf("%w: its %d bytes do not begin with tally's header", statestorage.ErrDamaged, len(data))
	}
	end := len(data) - checksumSize
	if want, got := binary.BigEndian.Uint32(data[end:]), statestorage.Checksum(data[:end]); want != got {
		return Blob{}, fmt.Errorf("%w: the checksum of its %d bytes is %08x instead of %08x", statestorage.ErrDamaged, len(data), got, want)
	}
	r := reader{rest: data[len(magic):end]}
	version := r.uint16()
	if err := statestorage.CheckVersion(int(version), Version); err != nil {
		return Blob{}, err
	}
	return decode(&r, version, owner, section)
}

// decode reads what is behind the version.
func decode(r *reader, version uint16, owner string, section int) (Blob, error) {
	gotKind, gotOwner := r.text(), r.text()
	gotSection, gotBuckets := int(r.uint16()), int(r.uint16())
	b := Blob{Owner: gotOwner, Section: gotSection, Generation: r.uint64()}
	switch {
	case r.bad:
		return Blob{}, fmt.Errorf("%w: its header ends early", statestorage.ErrDamaged)
	case gotKind != kind || gotOwner != owner:
		return Blob{}, fmt.Errorf("%w: %q of kind %q wrote it, this is %q of kind %q", ErrForeign, gotOwner, gotKind, owner, kind)
	case gotSection != section || gotBuckets != Buckets:
		return Blob{}, fmt.Errorf("%w: it is section %d of %d, not %d of %d", ErrForeign, gotSection, gotBuckets, section, Buckets)
	case b.Generation == 0:
		return Blob{}, fmt.Errorf("%w: it has no generation", statestorage.ErrDamaged)
	}
	if section == Meta {
		for i := range b.Generations {
			b.Generations[i] = r.uvarint()
		}
		b.Descriptions = r.descriptions(version)
		if version > 1 {
			b.Forgotten = r.forgotten()
		}
		if version > 3 {
			b.Erasure = r.erasure()
		}
	} else {
		b.Entries = r.entries(section)
	}
	if r.bad || len(r.rest) > 0 {
		return Blob{}, fmt.Errorf("%w: its content is invalid", statestorage.ErrDamaged)
	}
	return b, nil
}

// reader takes values from the front of its bytes. After the first that is not there, or not canonical, it is bad and
// every further value is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || n > 1 && r.rest[n-1] == 0 { // the last: longer than it need be
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() string { return string(r.bytes(r.uvarint())) }

// count reads the length of a list whose elements take minSize bytes at least.
func (r *reader) count(minSize int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/minSize) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) entries(section int) []Entry {
	n := r.count(minEntrySize)
	list := make([]Entry, 0, n)
	for i := 0; i < n && !r.bad; i++ {
		e := Entry{Key: r.text()}
		value := r.uvarint()
		e.Start, e.Last = int64(r.uint64()), int64(r.uint64())
		if value == 0 || value > math.MaxInt || Bucket(e.Key) != section || i > 0 && list[i-1].Key >= e.Key {
			r.bad = true
		}
		e.Value = int(value)
		list = append(list, e)
	}
	return list
}

func (r *reader) descriptions(version uint16) []Description {
	n := r.count(minDescriptionSize)
	list := make([]Description, 0, n)
	for i := 0; i < n && !r.bad; i++ {
		d := Description{Metric: r.text(), Description: r.text(), Unit: r.text()}
		if version > 2 {
			d.Sum = r.text()
		}
		if i > 0 && list[i-1].Metric >= d.Metric {
			r.bad = true
		}
		list = append(list, d)
	}
	return list
}

func (r *reader) forgotten() []Forgotten {
	n := r.count(minForgottenSize)
	list := make([]Forgotten, 0, n)
	for i := 0; i < n && !r.bad; i++ {
		f := Forgotten{Metric: r.text()}
		total := r.uvarint()
		if total == 0 || total > math.MaxInt || i > 0 && list[i-1].Metric >= f.Metric {
			r.bad = true
		}
		f.Total = int(total)
		list = append(list, f)
	}
	return list
}

func (r *reader) erasure() (e Erasure) {
	switch r.uvarint() {
	case 0:
		return e
	case 1:
		copy(e.Salt[:], r.bytes(uint64(len(e.Salt))))
		copy(e.Hash[:], r.bytes(uint64(len(e.Hash))))
		e.Time = int64(r.uint64())
		r.bad = r.bad || e == (Erasure{})
	default:
		r.bad = true
	}
	return e
}
