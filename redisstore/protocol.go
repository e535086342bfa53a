// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	_ "embed" // of the script
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The totals of a fleet are on the server, spread over shards. All keys of a shard have one hash tag, so they are on
// one node, change at once, and are replicated as one. Nothing that comes from logs is part of the name of a key.
//
//	{prefix:0}:totals        hash: what is counted in shard 0, and since when
//	{prefix:0}:writers       hash: each process that has written to it, and how far it is acknowledged
//	{prefix:0}:writer:NAME   string: what that process has contributed to each total of a generation, by place; it expires
//	                         without changing them
//	{prefix:0}:descriptions  hash: the description of each metric, in shard 0 alone
//
//go:embed flush.lua
var flushSource string

var flushScript = redis.NewScript(flushSource)

//go:embed leave.lua
var leaveSource string

//go:embed forget.lua
var forgetSource string

//go:embed ask.lua
var askSource string

var forgetScript, askScript = redis.NewScript(forgetSource), redis.NewScript(askSource)

// names are those of the keys on the server.
type names struct{ prefix string }

func (n names) shard(shard int, name string) string {
	return "{" + n.prefix + ":" + strconv.Itoa(shard) + "}:" + name
}

func (n names) totals(shard int) string { return n.shard(shard, "totals") }

func (n names) descriptions() string { return n.shard(0, "descriptions") }

func (n names) writers(shard int) string { return n.shard(shard, "writers") }

// slot returns the name of a slot. It has a part of that of the generation, which is a random text, so that totals
// which are back find the slots that are theirs. And it has the format, so that no version finds a slot of another: to
// it that is gone, which is exact.
func (n names) slot(shard int, writer, generation string) string {
	return n.shard(shard, "writer:"+writer+".2."+generation[:min(8, len(generation))])
}

// flushKeys returns the KEYS of the script.
func (n names) flushKeys(shard int, s *slot) []string {
	return []string{n.totals(shard), n.writers(shard), n.slot(shard, s.name, s.generation)}
}

// periods are how long the server remembers what nobody writes to.
type periods struct {
	slot   time.Duration // the contributions of a writer
	writer time.Duration // how far it was acknowledged
}

// lateness is how late a request may come of a process that is gone.
const lateness = time.Hour

// flushArgs returns the ARGV of the script.
func (s *slot) flushArgs(f *flush, shards int, p periods) []any {
	args := make([]any, 0, 16+len(f.entries)+2)
	args = append(args, s.name, shards, s.generation, newToken(), s.acked, s.sequence, f.token, s.seen,
		p.slot.Milliseconds(), p.writer.Milliseconds(), s.session, f.absolute, s.epoch, len(f.entries), f.amounts(), f.nothingNew())
	for _, e := range f.entries {
		if e.id == 0 {
			args = append(args, e.field)
		}
	}
	return s.appendRuns(args, f)
}

// leaveArgs returns the ARGV of the script by which a writer leaves.
func (s *slot) leaveArgs(p periods) []any {
	return []any{s.name, s.acked, min(p.slot, lateness).Milliseconds(), p.writer.Milliseconds()}
}

// amounts returns, for each entry, what it contributes or what of it is new, when this process first counted it, its
// place, and its id, as the script has it.
func (f *flush) amounts() []byte {
	text := make([]byte, 0, amountLength*len(f.entries))
	for _, e := range f.entries {
		amount, start := e.sent-e.acked, e.start
		if f.absolute {
			amount = e.contribution(e.sent)
		} else if e.acked > e.foreign {
			start = 0 // the server has been told, and if it does not have the key any more, that begins anew
		}
		text = appendAmount(text, amount)
		text = appendNumber(text, uint64(start), 6)
		text = appendNumber(text, uint64(e.place), 4)
		text = appendNumber(text, uint64(e.id), 4)
	}
	return text
}

// nothingNew returns, for each entry of a flush that brings contributions, what its place would have without anything
// new.
func (f *flush) nothingNew() []byte {
	if !f.absolute {
		return nil
	}
	text := make([]byte, 0, placeLength*len(f.entries))
	for _, e := range f.entries {
		text = appendPlace(text, e.forgotten, e.tenant)
	}
	return text
}

// contribution returns what the slot has of e when the server has its value up to sent.
func (e *entry) contribution(sent int64) int64 { return sent - e.base + e.forgotten }

// amountLength is how many bytes an entry has in the amounts, and placeLength in the slot.
const amountLength, placeLength = 23, 13

// maxGap is how many contributions that have not changed may be between two that have, in one run: to write them once
// more costs less than to begin another run.
const maxGap = 7

// appendRuns appends the contributions that the slot shall have, as runs of entries next to each other: the offset of
// the first in the slot, and the places.
func (s *slot) appendRuns(args []any, f *flush) []any {
	for i := 0; i < len(f.entries); {
		next := f.entries[i].place
		offset := next * placeLength
		var run []byte
		for ; i < len(f.entries) && f.entries[i].place <= next+maxGap; i++ {
			e := f.entries[i]
			for ; next < e.place; next++ {
				run = s.appendUnchanged(run, next)
			}
			run = appendPlace(run, e.contribution(e.sent), e.tenant)
			next++
		}
		args = append(args, offset, run)
	}
	return args
}

// appendUnchanged appends what the slot has in a place already. What a free one has does not matter.
func (s *slot) appendUnchanged(run []byte, place int) []byte {
	if e := s.places[place]; e != nil {
		return appendPlace(run, e.contribution(e.acked), e.tenant)
	}
	return appendPlace(run, 0, 0)
}

func appendPlace(text []byte, contribution int64, tenant uint32) []byte {
	return appendNumber(appendAmount(text, contribution), uint64(tenant), 4)
}

func appendAmount(text []byte, n int64) []byte {
	return appendNumber(appendNumber(text, uint64(n)/billion, 5), uint64(n)%billion, 4)
}

// appendNumber appends n as so many bytes, big-endian.
func appendNumber(text []byte, n uint64, bytes int) []byte {
	for i := bytes - 1; i >= 0; i-- {
		text = append(text, byte(n>>(8*i)))
	}
	return text
}

// parseAnswer reads what the script returns.
func parseAnswer(reply any) (answer, error) {
	list, ok := reply.([]any)
	if !ok || len(list) != 7 {
		return answer{}, fmt.Errorf("%w: %.100v", errWrongAnswer, reply)
	}
	status, ok1 := list[0].(string)
	generation, ok2 := list[1].(string)
	clock, ok3 := list[2].(string)
	full, ok4 := list[3].(int64)
	token, ok5 := list[4].(string)
	epoch, ok6 := list[5].(int64)
	ids, ok7 := list[6].(string)
	now, err := strconv.ParseInt(clock, 10, 64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || len(ids)%idLength != 0 || err != nil {
		return answer{}, fmt.Errorf("%w: %.100v", errWrongAnswer, reply)
	}
	return answer{status: status, generation: generation, now: now, full: full, token: token, epoch: epoch, ids: ids}, nil
}

// record is what the server knows of an id.
type record struct {
	total       int64
	start, last int64 // Unix milliseconds by the server's clock
}

// recordLength and idLength are those of values in the totals. All numbers there are big-endian: the total divided by
// 1e9 has 5 bytes and what is left of it 4, start and last have 6 each.
const recordLength, idLength = 21, 4

// parseID reads the value of a key in the totals; 0 is none.
func parseID(text string) (uint32, error) {
	if len(text) != idLength {
		return 0, fmt.Errorf("%w: id of %d bytes", errWrongAnswer, len(text))
	}
	return uint32(number(text)), nil
}

// parseRecord reads the value of an id in the totals.
func parseRecord(text string) (record, error) {
	if len(text) != recordLength {
		return record{}, fmt.Errorf("%w: record of %d bytes", errWrongAnswer, len(text))
	}
	high, low := number(text[:5]), number(text[5:9])
	if high > math.MaxInt64/billion || low >= billion || high*billion+low > math.MaxInt64 {
		return record{}, fmt.Errorf("%w: total %d,%d", errWrongAnswer, high, low)
	}
	return record{total: int64(high*billion + low), start: int64(number(text[9:15])), last: int64(number(text[15:]))}, nil
}

// number reads bytes, big-endian.
func number(text string) (n uint64) {
	for i := range len(text) {
		n = n<<8 | uint64(text[i])
	}
	return n
}

const billion = 1_000_000_000
