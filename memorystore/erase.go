// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

var (
	errNothingKept = errors.New("needs `storage`: without it, there is nothing to erase")
	errMatchesAll  = errors.New("must name an attribute: it would match every series")
	errNoValue     = errors.New("must be a string, number or bool")
)

// request is what a configuration asks to be erased.
type request struct {
	keys    eraser
	metrics []string
	options string // those that ask, as the log names them
	text    string // the same for requests that find the same; empty = nothing is asked for
}

// newRequest returns the request of a configuration, or every mistake in it.
func newRequest(cfg *Config) (request, error) {
	keys, err := newEraser(cfg.Erase)
	var options []string
	if len(cfg.Erase) > 0 {
		options = append(options, "`erase`")
	}
	if len(cfg.EraseMetrics) > 0 {
		options = append(options, "`erase_metrics`")
	}
	r := request{keys: keys, metrics: cfg.EraseMetrics, options: strings.Join(options, " and ")}
	if len(options) > 0 {
		r.text = requestText(cfg.Erase, cfg.EraseMetrics)
	}
	return r, err
}

// requestText returns one text for all requests that differ in order, in repetitions, or in how a number is written.
// Whether two texts are equal is kept over restarts, so they stay as they are.
func requestText(keys []map[string]any, metrics []string) string {
	items := []string{}
	for _, attributes := range keys {
		item := map[string][2]string{}
		for name, value := range attributes {
			item[name] = valueText(value)
		}
		items = append(items, jsonOf(item))
	}
	return jsonOf([2][]string{distinct(items), distinct(metrics)})
}

// valueText returns whether a value finds numbers, and the text that it finds.
func valueText(value any) [2]string {
	switch value := value.(type) {
	case string, bool:
		return [2]string{"text", fmt.Sprint(value)}
	case float64:
		return [2]string{"number", serieskey.DoubleValue(value).AsString()}
	default:
		return [2]string{"number", fmt.Sprint(value)}
	}
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v) // of strings alone, which cannot fail; the names of a map are in order
	return string(text)
}

func distinct(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// done returns what is kept of the request once it is done.
func (r request) done(now time.Time) state.Erasure {
	e := state.Erasure{Time: now.UnixNano()}
	_, _ = rand.Read(e.Salt[:]) // it never fails
	e.Hash = r.hash(e.Salt)
	return e
}

// is says whether the request is the one that was done.
func (r request) is(e state.Erasure) bool { return e != (state.Erasure{}) && r.hash(e.Salt) == e.Hash }

// hash returns a hash that nobody can look up, or compare with that of another storage.
func (r request) hash(salt [16]byte) [sha256.Size]byte {
	return sha256.Sum256(append(salt[:], r.text...))
}

// eraser says which keys are to be erased: those that have, for one of its matches, all attributes of it.
type eraser []match

// match is attributes by name. The kind of a value in a key is not always the one that a configuration suggests: what
// reads JSON makes a double of 7. So a number finds each number that equals it, and the string that is shown as it is;
// a string finds each value that is shown as it is.
type match map[string]serieskey.Wanted

// newEraser returns the eraser of a configuration, or every mistake in it.
func newEraser(list []map[string]any) (eraser, error) {
	var all eraser
	var errs []error
	for i, attributes := range list {
		m := match{}
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			switch value := attributes[name].(type) {
			case string:
				m[name] = serieskey.WantText(value)
			case bool, int, int64, uint64:
				m[name] = serieskey.Want(fmt.Sprint(value))
			case float64:
				m[name] = serieskey.WantValue(serieskey.DoubleValue(value))
			default:
				errs = append(errs, fmt.Errorf("`erase::%d::%s` %w", i, name, errNoValue))
			}
		}
		if len(attributes) == 0 {
			errs = append(errs, fmt.Errorf("`erase::%d` %w", i, errMatchesAll))
		}
		all = append(all, m)
	}
	return all, errors.Join(errs...)
}

// matches says whether a key is to be erased.
func (e eraser) matches(key string) bool {
	return slices.ContainsFunc(e, func(m match) bool { return m.of(key) })
}

// of says whether a key has all of the attributes, each of the resource or of the record.
func (m match) of(key string) bool {
	found := map[string]bool{}
	ok := serieskey.Members(key, func(_ bool, nameText, valueText string) {
		name := serieskey.Shown(nameText)
		if want, named := m[name]; named && want.Is(valueText) {
			found[name] = true
		}
	})
	return ok && len(found) == len(m)
}

// settle does the request, unless it was done before, and keeps that it is done. A start without a request forgets the
// last one, so that the same is a new one later.
func (v *saver) settle(ctx context.Context, logger *zap.Logger) error {
	switch {
	case v.request.text == "" && v.erasure == (state.Erasure{}):
		return nil
	case v.request.text == "":
		v.erasure = state.Erasure{}
		// the next flush tries again, and tells that the storage fails
		_ = v.overwrite(ctx, sectionSet{state.Meta: true})
		return nil
	case v.request.is(v.erasure):
		logger.Info(fmt.Sprintf("Already erased at %s; remove %s from the configuration",
			time.Unix(0, v.erasure.Time).UTC().Format(time.RFC3339), v.request.options))
		return nil
	}
	keys, err := v.erase(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", v.request.options, err)
	}
	logger.Info(fmt.Sprintf("Series are erased from the totals; remove %s from the configuration", v.request.options),
		zap.Int("keys", keys)) // and not which: that would keep them in the log
	return nil
}

// erase takes the keys of the request, of which load has restored none of its metrics, out of the store and out of
// every slot. That it was done is written after that: a crash in between does it again.
func (v *saver) erase(ctx context.Context) (keys int, err error) {
	keys = v.store.Forget(v.request.keys.matches) + v.erased
	v.erasure = state.Erasure{}
	if err := v.overwrite(ctx, allSections()); err != nil {
		return keys, err
	}
	v.erasure = v.request.done(time.Now())
	return keys, v.overwrite(ctx, sectionSet{state.Meta: true})
}

// overwrite writes sections so often that no slot of them has what was there before.
func (v *saver) overwrite(ctx context.Context, set sectionSet) error {
	for range state.Slots {
		v.store.markAllDirty(&set)
		if _, err := v.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
