package memorystore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

var (
	errNothingKept = errors.New("without `storage` nothing is kept that could be erased")
	errMatchesAll  = errors.New("must name an attribute: it would match every key")
	errNoValue     = errors.New("must be a string, number or bool")
)

// eraser says which keys are to be erased: those that have, for one of its matches, all attributes of it.
type eraser []match

// match is attributes by name. The kind of a value in a key is not always the one that a configuration suggests: what reads JSON makes
// a double of 7. So a number finds each number that equals it, and the string that is shown as it is; a string finds each value that is
// shown as it is.
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

// overwrite writes all sections so often that no slot has what was there before.
func (l *loop) overwrite(ctx context.Context) error {
	for range state.Slots {
		all := allSections()
		l.saver.store.markAll(&all)
		if err := l.flushNow(ctx); err != nil {
			return fmt.Errorf("`erase`: %w", err)
		}
	}
	return nil
}
