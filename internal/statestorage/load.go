// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package statestorage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var (
	// ErrDamaged says that a value is not as it was written: empty, cut, changed or continued.
	ErrDamaged = errors.New("state is damaged")
	// ErrNewer says that a newer version of tally wrote a value.
	ErrNewer = errors.New("state is of a newer version of tally; run that one, or give this extension a `storage` of its own")
	// ErrRefused says that a value is whole, and not for this extension to read.
	ErrRefused = errors.New("refuse the state in the storage, which stays as it is")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of data.
func Checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// CheckVersion returns ErrNewer for a version of a format above newest, which is what the caller reads, and ErrDamaged
// for one below 1.
func CheckVersion(version, newest int) error {
	switch {
	case version > newest:
		return fmt.Errorf("%w: it is version %d, this is version %d", ErrNewer, version, newest)
	case version < 1:
		return fmt.Errorf("%w: there is no version %d", ErrDamaged, version)
	}
	return nil
}

// Damage is a value that could not be read.
type Damage struct {
	Name  string // of the value
	Aside string // where SetAside puts its bytes; empty when there are none
	Err   error

	value []byte
}

// SetAside returns what moves the bytes to a name that nobody reads.
func (d Damage) SetAside() []*storage.Operation {
	return []*storage.Operation{storage.SetOperation(d.Aside, d.value), storage.DeleteOperation(d.Name)}
}

// Load reads values by their names and gives each that is there to decode, with the place of its name. It returns those
// that decode calls ErrDamaged, which stay as they are until the caller has done what SetAside says. Any other error of
// decode ends Load with ErrRefused.
func (c *Client) Load(ctx context.Context, names []string, decode func(i int, value []byte) error) (damages []Damage, err error) {
	ops := make([]*storage.Operation, len(names))
	for i, name := range names {
		ops[i] = storage.GetOperation(name)
	}
	if err := c.Batch(ctx, ops...); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for i, op := range ops {
		if op.Value == nil {
			continue
		}
		err := decode(i, op.Value)
		switch {
		case errors.Is(err, ErrDamaged):
			aside := fmt.Sprintf("damaged.%s.%d", op.Key, time.Now().UnixNano())
			damages = append(damages, Damage{Name: op.Key, Aside: aside, Err: err, value: op.Value})
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", ErrRefused, op.Key, err)
		}
	}
	return damages, nil
}
