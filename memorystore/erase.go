package memorystore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/identity"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

var (
	errNothingKept = errors.New("without `storage` nothing is kept that could be erased")
	errMatchesAll  = errors.New("must name an attribute: it would match every key")
	errNoValue     = errors.New("must be a string, number or bool")
)

// eraser says which keys are to be erased: those that have, for one of its matches, all attributes of it.
type eraser []match

// match is attributes by name: the text of their values, as in a key but without its quotes.
type match map[string]string

// newEraser returns the eraser of a configuration, or every mistake in it.
func newEraser(list []map[string]any) (eraser, error) {
	var all eraser
	var errs []error
	for i, attributes := range list {
		m := match{}
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			switch value := attributes[name].(type) {
			case string, bool, int, int64, uint64:
				m[name] = fmt.Sprint(value)
			case float64:
				m[name] = string(identity.AppendValue(nil, identity.DoubleValue(value)))
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

// matches says whether a key is to be erased. An attribute may be of the resource or of the record, and its value of any type.
func (e eraser) matches(key string) bool {
	if len(e) == 0 {
		return false
	}
	has := make([]map[string]bool, len(e))
	ok := identity.Members(key, func(_ bool, nameText, valueText string) {
		name, value := identity.Shown(nameText), identity.Shown(valueText)
		for i, m := range e {
			if want, named := m[name]; named && want == value {
				if has[i] == nil {
					has[i] = map[string]bool{}
				}
				has[i][name] = true
			}
		}
	})
	if !ok {
		return false
	}
	for i, m := range e {
		if len(has[i]) == len(m) {
			return true
		}
	}
	return false
}

// erasure is what was erased.
type erasure struct {
	keys    int
	amounts map[string]int // by metric
}

func (e *erasure) add(key string, n int) {
	metric, _ := identity.MetricOf(key)
	if e.amounts == nil {
		e.amounts = map[string]int{}
	}
	e.keys++
	e.amounts[metric] = saturated(e.amounts[metric], n)
}

func saturated(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// erase leaves out of what was read the keys that match, and enters what they had as forgotten.
func (v *saver) erase(l *loaded, e eraser) erasure {
	var done erasure
	for section := range l.blobs {
		b := &l.blobs[section]
		b.Entries = slices.DeleteFunc(b.Entries, func(entry state.Entry) bool {
			gone := e.matches(entry.Key)
			if gone {
				done.add(entry.Key, entry.Value)
			}
			return gone
		})
	}
	meta := &l.blobs[state.Meta]
	for _, metric := range slices.Sorted(maps.Keys(done.amounts)) {
		i := slices.IndexFunc(meta.Forgotten, func(f state.Forgotten) bool { return f.Metric == metric })
		if i < 0 {
			i = len(meta.Forgotten)
			meta.Forgotten = append(meta.Forgotten, state.Forgotten{Metric: metric})
		}
		meta.Forgotten[i].Total = saturated(meta.Forgotten[i].Total, done.amounts[metric])
	}
	return done
}

// overwrite writes all sections so often that no slot has what was there before.
func (l *loop) overwrite(ctx context.Context) error {
	for range state.Slots {
		all := sections{}
		for i := range all {
			all[i] = true
		}
		l.saver.store.markAll(&all)
		if err := l.flushNow(ctx); err != nil {
			return fmt.Errorf("`erase`: %w", err)
		}
	}
	return nil
}

// tell says what was erased, without what it was: that would keep it in the log.
func (e erasure) tell(logger *zap.Logger) {
	logger.Info("Keys are erased from the totals, as `erase` says. Take it out of the configuration, or the next start erases again",
		zap.Int("keys", e.keys), zap.Any("amounts", e.amounts))
}
