// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/binary"

	"github.com/logtally/tallyprocessor/internal/statestorage"
)

const (
	// magic has a byte above ASCII and a line end, which a copy as text would change.
	magic = "\x89tally\r\n"
	kind  = "tally_memory"

	checksumSize = 4
)

// Encode returns the bytes of b, whose lists must be in order.
func Encode(b Blob) []byte {
	dst := make([]byte, 0, b.sizeHint())
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint16(dst, Version)
	dst = appendText(dst, kind)
	dst = appendText(dst, b.Owner)
	dst = binary.BigEndian.AppendUint16(dst, uint16(b.Section))
	dst = binary.BigEndian.AppendUint16(dst, Buckets)
	dst = binary.BigEndian.AppendUint64(dst, b.Generation)
	if b.Section == Meta {
		dst = b.appendMeta(dst)
	} else {
		dst = appendEntries(dst, b.Entries)
	}
	return appendChecksum(dst)
}

func (b Blob) sizeHint() int {
	size := 64 + len(b.Owner)
	if b.Section == Meta {
		size += 2*Buckets + 64
	}
	for _, e := range b.Entries {
		size += len(e.Key) + 32
	}
	return size
}

func appendEntries(dst []byte, entries []Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	for _, e := range entries {
		dst = appendText(dst, e.Key)
		dst = binary.AppendUvarint(dst, uint64(e.Value))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Start))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Last))
	}
	return dst
}

func (b Blob) appendMeta(dst []byte) []byte {
	for _, generation := range b.Generations {
		dst = binary.AppendUvarint(dst, generation)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Descriptions)))
	for _, d := range b.Descriptions {
		dst = appendText(dst, d.Metric)
		dst = appendText(dst, d.Description)
		dst = appendText(dst, d.Unit)
		dst = appendText(dst, d.Sum)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Forgotten)))
	for _, f := range b.Forgotten {
		dst = appendText(dst, f.Metric)
		dst = binary.AppendUvarint(dst, uint64(f.Total))
	}
	return appendErasure(dst, b.Erasure)
}

// appendErasure appends a list of one, or of none.
func appendErasure(dst []byte, e Erasure) []byte {
	if e == (Erasure{}) {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = append(dst, e.Salt[:]...)
	dst = append(dst, e.Hash[:]...)
	return binary.BigEndian.AppendUint64(dst, uint64(e.Time))
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendChecksum(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, statestorage.Checksum(dst))
}
