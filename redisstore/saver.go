package redisstore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/kept"
)

// stateVersion is that of the format. What a later version wrote is not read.
const stateVersion = 1

var (
	errDamaged = errors.New("state is damaged")
	errRefused = errors.New("refuse the state in the storage, which stays as it is")
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// slotState is what is kept of a slot: with it, and what the server knows, it is certain what of the contributions has arrived.
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
	Entries    []entryState `json:"entries"`         // by index
}

// entryState is what is kept of an entry.
type entryState struct {
	Key     string `json:"key"`
	Start   int64  `json:"start"`
	Value   int64  `json:"value"`
	Acked   int64  `json:"acked,omitempty"`
	Base    int64  `json:"base,omitempty"`
	Foreign int64  `json:"foreign,omitempty"`
	Sent    *int64 `json:"sent,omitempty"` // nil = it is not on its way
}

// saver keeps the slots in a storage client. It is serial.
type saver struct {
	client  *kept.Client
	prefix  string
	slots   []*slot
	changed map[int]bool // by number of the slot
}

func stateName(shard int) string { return fmt.Sprintf("shard.%d", shard) }

// load fills the slots from the storage. What is damaged is set aside, and its slot begins anew. An error means that the state
// is not ours to read.
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
	return &s, nil
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

// state returns what is to be kept of the slot.
func (s *slot) state(prefix string, shards int) *slotState {
	state := &slotState{
		Version: stateVersion, Prefix: prefix, Shards: shards,
		Name: s.name, Generation: s.generation, Epoch: s.epoch, Sequence: s.sequence, Acked: s.acked, Seen: s.seen,
	}
	sent := map[*entry]*int64{}
	if s.pending != nil {
		state.Token = s.pending.token
		for _, e := range s.pending.entries {
			sent[e] = &e.sent
		}
	}
	s.shard.all(func(e *entry) {
		state.Entries = append(state.Entries, entryState{
			Key: e.key(), Start: e.start, Value: e.value.Load(), Acked: e.acked, Base: e.base, Foreign: e.foreign, Sent: sent[e],
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
	s.resend() // it may have been in the middle of that
	if state.Token != "" {
		s.pending = &flush{token: state.Token, whole: true}
	}
	for _, k := range state.Entries {
		e, _ := l.make(k.Key, math.MaxInt64)
		e.start, e.acked, e.base, e.foreign, e.kept = k.Start, k.Acked, k.Base, k.Foreign, k.Value
		e.value.Store(k.Value)
		if !registered { // a copy, if there is one, brings it back as well
			e.foreign = e.base
		}
		if k.Sent != nil && s.pending != nil {
			e.sent = *k.Sent
			s.pending.entries = append(s.pending.entries, e)
		}
	}
}
