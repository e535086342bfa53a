// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package capability is what the stores of this project can do beyond the contract of package store, for the parts of
// this project that ask for it. A store without one of them works, with less detail.
package capability

import (
	"iter"
	"reflect"
	"time"

	"github.com/logtally/tallyprocessor/store"
)

// LocalLister is implemented by a store that many processes share. The limits of the processor are then on what this
// process has counted, and it does not list what the others have when it starts.
type LocalLister interface {
	// LocalTotals yields, once and in no order, every key that this process has counted, and those that an earlier
	// process has left to it, with what they have added to its total. It does not block.
	LocalTotals() iter.Seq[store.Total]
}

// KeyLister is implemented by a store that does not list all its keys to tell those of a metric.
type KeyLister interface {
	// KeysOf returns the keys of a metric that have a total, and how many they are at most.
	KeysOf(metric string) (keys iter.Seq[string], atMost int)
}

// Claimer is implemented by a store that knows which components count a metric in it. So two that mean something else
// by its name do not add up, and those that mean the same have one limit.
type Claimer interface {
	// Claim says that a component counts the metric of d until it calls release. It is an error while another does so
	// whose Unit or Sum differs. shared is what begin has returned to the first of those that count the metric at the
	// time.
	Claim(d store.Description, begin func() (shared any)) (shared any, release func(), err error)
}

// Saturater is implemented by a store that can tell that a total has reached the largest int.
type Saturater interface {
	// Saturated returns how many additions a total could not take in full.
	Saturated() int64
}

// Forgetter is implemented by a store that drops keys which were not counted for a while, so that a flood of
// short-lived keys does not fill it for ever. What it drops stays in the balance: the total of a metric is the sum over
// its keys and what is forgotten of it.
type Forgetter interface {
	// OnForget registers told, which the store calls, from any goroutine, after it has dropped keys, and holds no lock
	// then that counting takes. A key may be back already: Has says so. told is not called after unregister has
	// returned.
	OnForget(told func(keys []string)) (unregister func())
	// Has says whether the store has a key, also one that was bound and not added to.
	Has(key string) bool
	// Forgotten returns what was dropped, by metric; keys that are not tally's are under "". The caller owns the
	// result.
	Forgotten() map[string]Forgotten
}

// Forgotten is what a store has dropped of a metric.
type Forgotten struct {
	Keys  int // how often a key was dropped, since the store was opened
	Total int // the sum of the totals that they had, kept as long as totals are
}

// OverflowKeeper is implemented by a store that remembers which keys beyond a limit are counted under overflow keys
// most, in bounded memory. Their texts are log content: they are for an operator to ask for, and never exported.
type OverflowKeeper interface {
	// Overflowed notes that n, which is positive, was added under an overflow key of metric, instead of under key.
	Overflowed(metric, key string, n int)
	// Overflows returns the heaviest keys noted for a metric, in descending order of their estimate, at most limit of
	// them.
	Overflows(metric string, limit int) []Overflow
}

// Overflow is a key that was counted under an overflow key.
type Overflow struct {
	Key      string
	Estimate int // of what would have been its total, never below it: at most MaxError above
	MaxError int
}

// ReaderKeeper is implemented by a store that keeps what a reader knows of it, for the next reader of that name: one
// that is replaced while the store lives must not emit again what was emitted, nor older points than that.
type ReaderKeeper interface {
	// KeepReader keeps the state of a reader that ends.
	KeepReader(name string, state any)
	// KeptReader returns what the last reader of a name has left, and gives it away: nil when there is nothing.
	KeptReader(name string) (state any)
}

// Embeddable is implemented by a store that other types embed. Those have its Bind and Add too, which go past what they
// override, unless they override Self as well.
type Embeddable interface {
	// Self returns the store whose methods Bind and Add are those of the receiver.
	Self() store.MetricStore
}

// Counting returns how to count in s besides by Inc; nil for what s does not have, or has of a store that it embeds.
func Counting(s store.MetricStore) (adder store.Adder, binder store.Binder) {
	if e, ok := s.(Embeddable); ok && !is(e.Self(), s) {
		return nil, nil
	}
	adder, _ = s.(store.Adder)
	binder, _ = s.(store.Binder)
	return adder, binder
}

// is says whether both are one store. Of values that Go cannot compare nobody knows.
func is(a, b store.MetricStore) bool { return reflect.ValueOf(b).Comparable() && a == b }

// InfoOf returns what s says of itself.
func InfoOf(s store.MetricStore) store.Info {
	if i, ok := s.(store.Informer); ok {
		return i.Info()
	}
	return store.Info{}
}

// ForgetInterval returns how often a store looks for keys that are idle: ten times in the time after which they are
// dropped, within a second and a minute.
func ForgetInterval(after time.Duration) time.Duration {
	return min(max(after/10, time.Second), time.Minute)
}
