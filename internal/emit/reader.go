// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// ErrNotListed says that a store cannot list its totals, so that nothing can be read from it but by key.
var ErrNotListed = errors.New("store does not list its totals: it does not implement Lister")

// ErrForgetsFirst says that keys are dropped before their series is to end, so that it never would.
var ErrForgetsFirst = errors.New("must not be longer than the `forget_after` of the store")

// ErrSharedDelta says that nobody knows what was emitted before of a store that many processes share.
var ErrSharedDelta = errors.New("`temporality` is `delta`: it must be `cumulative` for a store that a fleet shares, since what an earlier " +
	"process has emitted of it is not known; the processor `cumulativetodelta` makes deltas")

var errStaleDelta = errors.New("needs `temporality: cumulative`: with `delta`, idle series are not sent anyway")

// ValidateStaleAfter returns what is wrong with a configured StaleAfter. option is the name of the interval between two
// emissions.
func ValidateStaleAfter(staleAfter time.Duration, temporality Temporality, option string, interval time.Duration) error {
	switch {
	case staleAfter < 0:
		return fmt.Errorf("`stale_after` is %v: must not be negative", staleAfter)
	case staleAfter == 0:
		return nil
	case temporality == Delta:
		return fmt.Errorf("`stale_after` is %v: %w", staleAfter, errStaleDelta)
	case staleAfter < interval:
		return fmt.Errorf("`stale_after` is %v: must not be shorter than `%s`, which is %v", staleAfter, option, interval)
	}
	return nil
}

// Reader collects from one store. It is as serial as its Emitter.
type Reader struct {
	lister    store.Lister
	describer store.Describer // nil when the store keeps no descriptions
	emitter   *Emitter
	keeper    capability.ReaderKeeper // nil when the store keeps no readers
	name      string                  // that the keeper knows it by
}

// NewReader returns a Reader of store. Where settings do not say since when keys are new, it is since the store was
// opened, or else since now.
func NewReader(s store.MetricStore, settings Settings) (*Reader, error) {
	lister, ok := s.(store.Lister)
	if !ok {
		return nil, ErrNotListed
	}
	info := capability.InfoOf(s)
	if info.Shared && settings.Delta {
		return nil, ErrSharedDelta
	}
	if settings.Since.IsZero() {
		settings.Since = info.Opened
	}
	if settings.Since.IsZero() {
		settings.Since = time.Now()
	}
	settings.Settle = info.SettleTime
	if info.ForgetAfter > 0 && info.ForgetAfter < settings.StaleAfter {
		return nil, fmt.Errorf("`stale_after` is %v: %w, where it is %v", settings.StaleAfter, ErrForgetsFirst, info.ForgetAfter)
	}
	describer, _ := s.(store.Describer)
	r := &Reader{lister: lister, describer: describer, name: settings.Scope + " " + settings.ID, emitter: New(settings)}
	if r.keeper, ok = s.(capability.ReaderKeeper); ok {
		if before, ok := r.keeper.KeptReader(r.name).(*Emitter); ok && before.settings.Delta == settings.Delta {
			r.emitter = before
			before.settings = settings
		}
	}
	return r, nil
}

// Close leaves what the Reader knows with the store. It is not used afterwards.
func (r *Reader) Close() {
	if r.keeper != nil {
		r.keeper.KeepReader(r.name, r.emitter)
	}
}

// Collect returns what the store holds now. As with Emitter.Collect, what comes with an error is to be sent.
func (r *Reader) Collect(ctx context.Context) (*Collection, error) {
	var descriptions []store.Description
	if r.describer != nil {
		descriptions = r.describer.Descriptions()
	}
	return r.emitter.Collect(r.lister.Totals(ctx), descriptions, time.Now())
}
