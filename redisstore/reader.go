// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/logtally/tallyprocessor/store"
)

// page is how many keys a step of a listing asks for: the server does nothing else for less than a millisecond then.
const page = 1000

var errUnsettled = errors.New("totals are not complete: the server has lost some, and the Collectors are bringing them back")

// reader lists what the server has. It is safe for concurrent use.
type reader struct {
	client redis.UniversalClient
	names  names
	opened time.Time
	settle time.Duration // how long a shard is not listed after it has lost something

	// mu guards shards.
	mu     sync.Mutex
	shards []shardView
}

// shardView is what a reader has seen of a shard.
type shardView struct {
	seen       bool
	generation string
	resync     string // when the last began, by the server's clock; empty = none has
	until      time.Time
}

func newReader(cfg *Config, client redis.UniversalClient, opened time.Time) *reader {
	return &reader{
		client: client, names: names{cfg.KeyPrefix}, opened: opened,
		settle: cfg.settleTime(), shards: make([]shardView, cfg.Shards),
	}
}

// totals yields what all shards hold. A shard that cannot be listed, or is not complete, is left out, and the error at
// the end says so.
func (r *reader) totals(ctx context.Context) iter.Seq2[store.Total, error] {
	return func(yield func(store.Total, error) bool) {
		var errs []error
		for i := range r.shards {
			goOn, err := r.shard(ctx, i, yield)
			if !goOn {
				return
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("list shard %d: %w", i, err))
			}
			if err := ctx.Err(); err != nil {
				errs = append(errs, fmt.Errorf("list shards: %w", err))
				break
			}
		}
		if err := combine(errs); err != nil {
			yield(store.Total{}, err)
		}
	}
}

// shard yields what one shard holds. goOn is false when the caller wants no more.
func (r *reader) shard(ctx context.Context, i int, yield func(store.Total, error) bool) (goOn bool, err error) {
	found, err := r.look(ctx, i)
	if err != nil {
		return true, err
	}
	listed := idSet{}
	for cursor := uint64(0); ; {
		fields, next, err := r.client.HScan(ctx, r.names.totals(i), cursor, "", page).Result()
		if err != nil {
			return true, err
		}
		keys, recordFields, err := newKeys(listed, fields, found.lastID)
		if err != nil {
			return true, err
		}
		goOn, err := r.records(ctx, i, found.generation, keys, recordFields, yield)
		if !goOn || err != nil {
			return goOn, err
		}
		if cursor = next; cursor == 0 {
			return true, nil
		}
	}
}

// newKeys returns the keys among fields of the totals that were not listed yet, and the fields of their records. A key
// that got its id after the listing began may be one that was listed and dropped.
func newKeys(listed idSet, fields []string, lastID uint64) (keys, recordFields []string, err error) {
	for j := 0; j+1 < len(fields); j += 2 {
		if fields[j] == "" || fields[j][0] != ':' {
			continue
		}
		id, err := parseID(fields[j+1])
		if err != nil {
			return nil, nil, err
		}
		if listed.add(id) && (uint64(id) <= lastID || lastID > math.MaxUint32) {
			keys, recordFields = append(keys, fields[j][1:]), append(recordFields, recordField(fields[j+1]))
		}
	}
	return keys, recordFields, nil
}

// records yields the totals of keys. goOn is false when the caller wants no more.
func (r *reader) records(
	ctx context.Context, i int, generation string, keys, fields []string, yield func(store.Total, error) bool,
) (goOn bool, err error) {
	if len(keys) == 0 {
		return true, nil
	}
	values, err := r.client.HMGet(ctx, r.names.totals(i), append(fields, "g")...).Result()
	if err != nil {
		return true, err
	}
	if now, _ := values[len(keys)].(string); now != generation {
		return true, errUnsettled // it was wiped just now
	}
	for j, value := range values[:len(keys)] {
		text, ok := value.(string)
		if !ok {
			continue // it was dropped just now
		}
		rec, err := parseRecord(text)
		if err != nil {
			return true, err
		}
		if !yield(r.total(keys[j], rec), nil) {
			return false, nil
		}
	}
	return true, nil
}

// recordField returns the field of the record with an id.
func recordField(id string) string { return "#" + id }

// shardMeta is what a shard has when a listing begins.
type shardMeta struct {
	generation string
	lastID     uint64 // that a key has got
}

// look finds out whether a shard is complete.
func (r *reader) look(ctx context.Context, i int) (shardMeta, error) {
	meta, err := r.client.HMGet(ctx, r.names.totals(i), "g", "d", "s", "i").Result()
	if err != nil {
		return shardMeta{}, err
	}
	text := func(n int) string {
		s, _ := meta[n].(string)
		return s
	}
	if shards := text(2); shards != "" && shards != strconv.Itoa(len(r.shards)) {
		return shardMeta{}, fmt.Errorf("%w: %s", errShards, shards)
	}
	lastID, _ := strconv.ParseUint(text(3), 10, 64) // 0 = there is no key
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := r.shards[i].update(text(0), text(1), time.Now(), r.settle); time.Now().Before(until) {
		return shardMeta{}, fmt.Errorf("%w, for %s more", errUnsettled, time.Until(until).Round(time.Second))
	}
	return shardMeta{text(0), lastID}, nil
}

// update takes what a shard says of itself, and returns until when it may be incomplete.
func (s *shardView) update(generation, resync string, now time.Time, settle time.Duration) (until time.Time) {
	switch {
	case !s.seen:
		if millis, err := strconv.ParseInt(resync, 10, 64); err == nil { // else there never was one
			s.until = earlier(time.UnixMilli(millis), now).Add(settle) // the clocks may differ, and step
		}
	case s.generation != generation && s.generation != "", s.resync != resync && resync != "":
		s.until = now.Add(settle)
	}
	s.seen, s.generation, s.resync = true, generation, resync
	return s.until
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// total returns what a record says. A key that is older than the store in this process was read before by somebody, for
// all that is known.
func (r *reader) total(key string, rec record) store.Total {
	t := store.Total{
		Key: key, Value: int(min(rec.total, math.MaxInt)), Start: time.UnixMilli(rec.start), Last: time.UnixMilli(max(rec.last, rec.start)),
	}
	if t.Start.Before(r.opened.Truncate(time.Millisecond)) {
		t.Restored = t.Value
	}
	return t
}

// get returns one total.
func (r *reader) get(ctx context.Context, key string) (int64, error) {
	totals := r.names.totals(shardOf(key, len(r.shards)))
	before, err := r.client.HMGet(ctx, totals, "g", ":"+key).Result()
	if err != nil {
		return 0, err
	}
	id, ok := before[1].(string)
	if !ok {
		return 0, nil
	}
	after, err := r.client.HMGet(ctx, totals, "g", recordField(id)).Result()
	if err != nil {
		return 0, err
	}
	text, ok := after[1].(string)
	switch {
	case after[0] != before[0]:
		return 0, errUnsettled // it was wiped just now
	case !ok:
		return 0, nil // it was dropped just now
	}
	rec, err := parseRecord(text)
	return rec.total, err
}

// descriptions returns those of the fleet, by metric.
func (r *reader) descriptions(ctx context.Context) (map[string]store.Description, error) {
	fields, err := r.client.HGetAll(ctx, r.names.descriptions()).Result()
	if err != nil {
		return nil, err
	}
	all := map[string]store.Description{}
	for metric, text := range fields {
		var d description
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("%w: description of %q: %w", errWrongAnswer, metric, err)
		}
		all[metric] = store.Description{
			Metric: metric, Description: d.Description, Unit: d.Unit, Sum: d.Sum, Key: d.Key, CardinalityLimit: d.CardinalityLimit,
		}
	}
	return all, nil
}

// idSet is a set of numbers, 64 at a time: most are next to each other, but where keys come and go. HSCAN may return a
// field twice.
type idSet map[uint32]uint64

func (s idSet) add(id uint32) (isNew bool) {
	word, bit := id/64, uint64(1)<<(id%64)
	isNew = s[word]&bit == 0
	s[word] |= bit
	return isNew
}
