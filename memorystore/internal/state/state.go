// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package state is the format in which tally_memory keeps its totals in a storage extension.
//
// The totals are spread over Buckets sections by the hash of their key; one more section, Meta, holds what is not a
// total. A section is one blob, complete in itself:
//
//	magic       8 bytes
//	version     uint16
//	kind        text: "tally_memory"
//	owner       text: the component id of the extension
//	section     uint16
//	buckets     uint16: how many there are
//	generation  uint64: from 1, one more at each write of the section
//	body        of a bucket: its entries; of Meta: the generations of all buckets, the descriptions, what was
//	            forgotten (since version 2), and which erasure was done (since version 4); before version 3
//	            descriptions have no Sum
//	checksum    uint32: CRC-32C of everything before it
//
// Integers of fixed size are big-endian, text is its length as a uvarint and then its bytes, a list is its length as
// a uvarint and then its elements in ascending order. There is one encoding of each blob: what decodes encodes to the
// same bytes. Magic, version and checksum are where they are in every version.
//
// A section has two slots in the storage that are written in turn. The valid one of the higher generation counts.
// Meta is written last, so a bucket that is older than Meta says has been lost.
//
// Everything here is a pure function and safe for concurrent use.
package state

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

const (
	// Version is the format that Encode writes. Decode reads the older ones too.
	Version = 4
	// Buckets is how many sections the keys are spread over. It is part of the format.
	Buckets = 256
	// Meta is the section after the buckets.
	Meta = Buckets
	// Sections is how many there are.
	Sections = Buckets + 1
	// Slots is how many slots each section has.
	Slots = 2
)

// ErrForeign says that a blob is whole but belongs to another component, or elsewhere.
var ErrForeign = errors.New("state belongs to another component; give this extension a `storage`, or that storage a directory, of its own")

// Blob is the content of one section.
type Blob struct {
	Owner      string
	Section    int
	Generation uint64 // from 1

	Entries []Entry // of a bucket: ascending by key, each key in its bucket

	Generations  [Buckets]uint64 // of Meta: those of the buckets when it was written; 0 = never written
	Descriptions []Description   // of Meta: ascending by metric
	Forgotten    []Forgotten     // of Meta: ascending by metric
	// of Meta: the last that was done; the zero Erasure = none, or none was asked for since
	Erasure Erasure
}

// Entry is the total of one key.
type Entry struct {
	Key         string
	Value       int   // positive
	Start, Last int64 // Unix time in nanoseconds
}

// Forgotten is the sum of the totals that the dropped keys of a metric had.
type Forgotten struct {
	Metric string
	Total  int // positive
}

// Description is what a backend shows of a metric, and what its totals add up.
type Description struct{ Metric, Description, Unit, Sum string }

// Erasure says that a request to erase keys was done, and not what it was: the request names log content.
type Erasure struct {
	Salt [16]byte // of Hash
	Hash [32]byte // of the request
	Time int64    // Unix time in nanoseconds
}

// Bucket returns the section of a key. xxHash64 is specified and stable, so it is the same for ever.
func Bucket(key string) int { return int(xxhash.Sum64String(key) % Buckets) }

// Name returns the key of a slot in the storage.
func Name(section, slot int) string {
	if section == Meta {
		return fmt.Sprintf("meta.%d", slot)
	}
	return fmt.Sprintf("b%03d.%d", section, slot)
}
