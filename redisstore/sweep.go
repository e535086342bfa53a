// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// sweeps is in how many parts `forget_after` is divided: a key that is idle for that long is dropped in the next part,
// or in the one after.
const sweeps = 8

// sweep is what this process does in one shard to forget keys: it drops what the fleet does not count, if no other has
// just done so, and asks what has been dropped of what it has counted itself.
type sweep struct {
	began  time.Time
	cursor string // of what is left to drop; empty = nothing
	drops  scriptCall
	asks   scriptCall
	asked  []*entry
}

// sweepInterval is how often a shard is swept. A sweep goes on with the flushes, so there is no more than one between
// two of them.
func (c *Config) sweepInterval() time.Duration { return max(c.ForgetAfter/sweeps, c.FlushInterval) }

// forget takes the next step of each sweep: a call for as many keys as the server looks at in a millisecond or so. If
// that fails, no flush has failed; but if the server is not there, the next flush waits as if it had found that out
// itself. A server whose memory is full takes no flush, and needs to forget all the more.
func (w *writer) forget(ctx context.Context) {
	if w.cfg.ForgetAfter <= 0 || w.failure != nil && classify(w.failure).name != "out_of_memory" {
		return
	}
	began := time.Now()
	err := w.step(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
	case classify(err).absent:
		w.plan(err)
		w.health.note(err, began)
	default:
		w.health.noteForgetting(err)
	}
}

func (w *writer) step(ctx context.Context) error {
	var calls []*scriptCall
	for i := range w.slots {
		calls = append(calls, w.sweepCalls(i)...)
	}
	if len(calls) == 0 {
		return nil
	}
	_ = w.send(ctx, calls) // each call has its error
	var errs []error
	for _, c := range calls {
		errs = append(errs, c.cmd.Err())
	}
	for i := range w.slots {
		errs = append(errs, w.settleSweep(i))
	}
	w.dropAliases()
	if w.state != nil {
		w.health.noteStorage(w.state.save(ctx))
	}
	return combine(errs)
}

// sweepCalls returns what is to be asked next of a shard. If it is time for that, another sweep begins.
func (w *writer) sweepCalls(shard int) (calls []*scriptCall) {
	s, sw, totals := w.slots[shard], &w.sweeps[shard], w.names.totals(shard)
	if sw.began.IsZero() || time.Since(sw.began) >= w.cfg.sweepInterval() {
		sw.began, sw.cursor = time.Now(), "0"
		s.lookForIdle(w.cfg.ForgetAfter)
	}
	sw.drops, sw.asks = scriptCall{}, scriptCall{}
	if sw.cursor != "" {
		sw.drops = scriptCall{script: forgetScript, keys: []string{totals}, args: []any{
			w.cfg.ForgetAfter.Milliseconds(), max(1, w.cfg.sweepInterval().Milliseconds()), sw.cursor, page,
		}}
		calls = append(calls, &sw.drops)
	}
	if sw.asked = s.nextIdle(w.cfg.ForgetAfter); len(sw.asked) > 0 {
		sw.asks = scriptCall{script: askScript, keys: []string{totals, w.names.writers(shard)}, args: s.askArgs(sw.asked)}
		calls = append(calls, &sw.asks)
	}
	return calls
}

// settleSweep takes the answers of a shard.
func (w *writer) settleSweep(shard int) error {
	sw := &w.sweeps[shard]
	if sw.drops.cmd != nil && sw.drops.cmd.Err() == nil {
		dropped, err := sw.swept(sw.drops.cmd.Val())
		if err != nil {
			return err
		}
		w.numbers.keysDropped.Add(dropped)
	}
	if sw.asks.cmd == nil || sw.asks.cmd.Err() != nil {
		return nil
	}
	missing, err := parseMissing(sw.asked, sw.asks.cmd.Val())
	if err != nil || len(missing) == 0 {
		return err
	}
	if len(w.listeners.Drop(func() []string { return w.slots[shard].drop(missing) })) > 0 && w.state != nil {
		w.state.mark(shard)
	}
	return nil
}

// dropAliases drops the keys that nobody counts any more under overflow keys.
func (w *writer) dropAliases() {
	l := w.local
	if l.age()-w.aliasesSwept < w.cfg.sweepInterval() {
		return
	}
	w.aliasesSwept = l.age()
	for part := range slices.Chunk(l.aliases.idle(w.aliasesSwept, w.cfg.ForgetAfter), chunk) {
		w.listeners.Drop(func() []string { return l.aliases.drop(part) })
	}
}

// swept takes what the script has done.
func (sw *sweep) swept(reply any) (dropped int64, err error) {
	list, _ := reply.([]any)
	if len(list) != 2 {
		return 0, fmt.Errorf("%w: %.100v", errWrongAnswer, reply)
	}
	cursor, ok1 := list[0].(string)
	dropped, ok2 := list[1].(int64)
	if _, err := strconv.ParseUint(cursor, 10, 64); !ok1 || !ok2 || err != nil {
		return 0, fmt.Errorf("%w: %.100v", errWrongAnswer, reply)
	}
	if sw.cursor = cursor; cursor == "0" {
		sw.cursor = ""
	}
	return dropped, nil
}

// askArgs returns the ARGV of the script that tells whether the server has entries. One whose id is not known may have
// come back since: then it is there.
func (s *slot) askArgs(entries []*entry) []any {
	args := append(make([]any, 0, 3+len(entries)), s.name, s.generation, s.acked)
	for _, e := range entries {
		field := e.field
		if e.id != 0 {
			field = recordField(string(appendNumber(nil, uint64(e.id), idLength)))
		}
		args = append(args, field)
	}
	return args
}

// parseMissing returns those of entries that the server says it does not have.
func parseMissing(entries []*entry, reply any) (missing []*entry, err error) {
	list, ok := reply.([]any)
	if ok && len(list) == 0 {
		return nil, nil // it is in another state, which the next heartbeat finds out
	}
	if len(list) != len(entries) {
		return nil, fmt.Errorf("%w: %.100v", errWrongAnswer, reply)
	}
	for i, e := range entries {
		if list[i] == int64(0) {
			missing = append(missing, e)
		}
	}
	return missing, nil
}
