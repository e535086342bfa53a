// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/statestorage"
)

// stateVersion is that of the format. What a later version wrote is not read.
const stateVersion = 2

var (
	errDamaged = errors.New("state is damaged")
	errRefused = errors.New("refuse the state in the storage, which stays as it is")
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// slotState is what is kept of a slot: with it, and what the server knows, it is certain what of the contributions has
// arrived.
type slotState struct {
	Version    int          `json:"version"`
	Prefix     string       `json:"key_prefix"`
	Shards     int          `json:"shards"`
	Name       string       `json:"name"`
	Generation string       `json:"generation,omitempty"`
	Epoch      int64        `json:"epoch,omitempty"`
	Sequence   int64        `json:"sequence,omitempty"`
	Acked      string       `json:"acked,omitempty"`
	Seen       int64        `json:"seen,omitempty"`
	Token      string       `json:"token,omitempty"` // of what is on its way; empty = nothing is
	Tenants    uint32       `json:"tenants"`
	Entries    []entryState `json:"entries"`        // in version 1, each is in the place that has its number
	Free       []int        `json:"free,omitempty"` // all other places

	Forgotten map[string]int `json:"forgotten,omitempty"` // by metric
}

// entryState is what is kept of an entry.
type entryState struct {
	Key       string `json:"key"`
	Place     int    `json:"place"`
	Tenant    uint32 `json:"tenant"`
	Start     int64  `json:"start"`
	Value     int64  `json:"value"`
	Acked     int64  `json:"acked,omitempty"`
	Base      int64  `json:"base,omitempty"`
	Foreign   int64  `json:"foreign,omitempty"`
	Forgotten int64  `json:"forgotten,omitempty"`
	Sent      *int64 `json:"sent,omitempty"` // nil = it is not on its way
}

// saver keeps the slots in a storage client. It is serial.
type saver struct {
	client  *statestorage.Client
	prefix  string
	slots   []*slot
	changed map[int]bool // by number of the slot
}

func stateName(shard int) string { return fmt.Sprintf("shard.%d", shard) }

// load fills the slots from the storage. What is damaged is set aside, and its slot begins anew. An error means that
// the state is not ours to read.
func (v *saver) load(ctx context.Context, l *local) (damages []error, err error) {
	var ops, aside []*storage.Operation
	for i := range v.slots {
		ops = append(ops, storage.GetOperation(stateName(i)))
	}
	if err := v.client.Batch(ctx, ops...); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for i, op := range ops {
		if op.Value == nil {
			continue
		}
		state, err := v.decode(op.Value)
		if errors.Is(err, errDamaged) {
			damages = append(damages, fmt.Errorf("%s: %w", stateName(i), err))
			aside = append(aside, storage.SetOperation(fmt.Sprintf("damaged.%s.%d", stateName(i), time.Now().UnixNano()), op.Value))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errRefused, stateName(i), err)
		}
		v.slots[i].restore(l, state)
	}
	if aside != nil {
		if err := v.client.Batch(ctx, aside...); err != nil {
			return damages, fmt.Errorf("set damaged state aside: %w", err)
		}
	}
	return damages, nil
}

func (v *saver) decode(value []byte) (*slotState, error) {
	if len(value) < 4 || crc32.Checksum(value[4:], checksums) != binary.BigEndian.Uint32(value) {
		return nil, errDamaged
	}
	var s slotState
	if err := json.Unmarshal(value[4:], &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	switch {
	case s.Version > stateVersion:
		return nil, fmt.Errorf("it is of version %d, of a newer tally; this one reads up to %d", s.Version, stateVersion)
	case s.Prefix != v.prefix:
		return nil, fmt.Errorf("it is of `key_prefix` %q, not %q: give each a `storage` of its own", s.Prefix, v.prefix)
	case s.Shards != len(v.slots):
		return nil, fmt.Errorf("it is of %d `shards`, not %d", s.Shards, len(v.slots))
	}
	if s.Version < 2 {
		s.upgrade()
	}
	return &s, s.check()
}

// upgrade makes a state of version 1 one of this version.
func (s *slotState) upgrade() {
	s.Tenants = uint32(len(s.Entries))
	for i := range s.Entries {
		s.Entries[i].Place, s.Entries[i].Tenant = i, uint32(i+1)
	}
}

// check returns an error unless each key is there once, and each place.
func (s *slotState) check() error {
	keys, places := map[string]bool{}, map[int]bool{}
	for _, place := range s.Free {
		places[place] = true
	}
	for _, e := range s.Entries {
		keys[e.Key], places[e.Place] = true, true
	}
	all := len(s.Entries) + len(s.Free)
	for place := range places {
		if place < 0 || place >= all {
			return fmt.Errorf("%w: place %d of %d", errDamaged, place, all)
		}
	}
	if len(keys) < len(s.Entries) || len(places) < all {
		return fmt.Errorf("%w: a key or a place is there twice", errDamaged)
	}
	return nil
}

// mark makes the next save write a slot.
func (v *saver) mark(shard int) { v.changed[shard] = true }

// save writes the slots that are marked. After an error they still are.
func (v *saver) save(ctx context.Context) error {
	var ops []*storage.Operation
	for i := range v.changed {
		text, err := json.Marshal(v.slots[i].state(v.prefix, len(v.slots)))
		if err != nil {
			return fmt.Errorf("encode state: %w", err)
		}
		value := binary.BigEndian.AppendUint32(nil, crc32.Checksum(text, checksums))
		ops = append(ops, storage.SetOperation(stateName(i), append(value, text...)))
	}
	if ops == nil {
		return nil
	}
	if err := v.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	clear(v.changed)
	return nil
}

func (v *saver) close(ctx context.Context) error {
	if err := v.client.Close(ctx); err != nil {
		return fmt.Errorf("close storage client: %w", err)
	}
	return nil
}

// state returns what is to be kept of the slot. It shares nothing with the slot.
func (s *slot) state(prefix string, shards int) *slotState {
	state := &slotState{
		Version: stateVersion, Prefix: prefix, Shards: shards,
		Name: s.name, Generation: s.generation, Epoch: s.epoch, Sequence: s.sequence, Acked: s.acked, Seen: s.seen,
		Tenants: s.tenants, Free: slices.Clone(s.free), Forgotten: s.shard.forgottenTotals(),
	}
	sent := map[*entry]*int64{}
	if s.pending != nil {
		state.Token = s.pending.token
		for _, e := range s.pending.entries {
			n := e.sent
			sent[e] = &n
		}
	}
	s.all(func(e *entry) {
		state.Entries = append(state.Entries, entryState{
			Key: e.key(), Place: e.place, Tenant: e.tenant, Start: e.start,
			Value: e.value.Load(), Acked: e.acked, Base: e.base, Foreign: e.foreign, Forgotten: e.forgotten, Sent: sent[e],
		})
	})
	return state
}

// restore makes the slot, which is new, go on where an earlier process left it.
func (s *slot) restore(l *local, state *slotState) {
	registered := state.Sequence > 0 || state.Token != ""
	if registered { // otherwise the server cannot tell a copy by the name
		s.name = state.Name
	}
	s.generation, s.epoch, s.sequence, s.acked, s.seen = state.Generation, state.Epoch, state.Sequence, state.Acked, state.Seen
	s.restored = true
	s.resync() // it may have been in the middle of that
	if state.Token != "" {
		s.pending = &flush{token: state.Token, absolute: true}
	}
	s.shard.restoreForgotten(state.Forgotten)
	s.tenants, s.free, s.places = state.Tenants, state.Free, make([]*entry, len(state.Entries)+len(state.Free))
	for _, k := range state.Entries {
		e, _ := l.make(k.Key, math.MaxInt64)
		e.place, e.tenant, e.start = k.Place, k.Tenant, k.Start
		e.acked, e.base, e.foreign, e.forgotten, e.kept = k.Acked, k.Base, k.Foreign, k.Forgotten, k.Value
		e.value.Store(max(0, k.Value))
		s.places[e.place] = e
		if !registered { // a copy, if there is one, brings it back as well
			e.foreign = e.base
		}
		if k.Sent != nil && s.pending != nil {
			e.sent = *k.Sent
			s.pending.entries = append(s.pending.entries, e)
		}
	}
}
