// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/internal/limiter"
	"github.com/logtally/tallyprocessor/internal/meaning"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/store"
)

// ErrOtherMeaning says that a metric adds up something else than the totals that the store has under its name.
var ErrOtherMeaning = errors.New("the store has totals under that name with another `sum` or unit: give the metric another name, or erase " +
	"those totals with `erase_metrics` of `tally_memory`")

func meaningOf(d store.Description) meaning.Meaning { return meaning.Meaning{Unit: d.Unit, Sum: d.Sum} }

// Introduce tells the store the metrics, and the limiters the keys that the store holds already: those were admitted
// before, and stay so until the store forgets them. The store may take the time that ctx gives it. After an error, or a
// panic of the store, what was begun is ended.
func (a *Applier) Introduce(ctx context.Context) error {
	known := false
	defer func() {
		if !known {
			a.Close()
		}
	}()
	err := a.introduce(ctx)
	known = err == nil
	return err
}

func (a *Applier) introduce(ctx context.Context) error {
	a.listen()
	if err := a.claim(); err != nil {
		return err
	}
	defer a.catchUp() // after an error too: others go on with the keys that were entered for them
	if err := a.admitAll(ctx, &admission{Applier: a, numbers: a.metricNumbers(), earlier: a.earlierMeanings()}); err != nil {
		return err
	}
	if describer, ok := a.Store.(store.Describer); ok {
		for _, d := range a.Metrics {
			describer.Describe(d)
		}
	}
	return nil
}

// claim says what the metrics are, so that no other component counts something else under their names, and makes their
// limiters: all that count a metric in one store have its limit in common.
func (a *Applier) claim() error {
	claimer, ok := a.Store.(capability.Claimer)
	for i, d := range a.Metrics {
		keys := limiter.NewKeys()
		if ok {
			shared, release, err := claimer.Claim(d, func() any { return keys })
			if err != nil {
				return fmt.Errorf("`logs::%s`: %w", d.Metric, err)
			}
			a.ends = append(a.ends, release)
			if common, ok := shared.(*limiter.Keys); ok {
				keys = common
			}
		}
		a.limiters = append(a.limiters, limiter.New(keys, d.CardinalityLimit, a.Extractor.LastKey(i)))
		if d.Key != "" {
			a.limiters[i].Restore(d.Key, false) // it is there before its first record
		}
	}
	return nil
}

// Close ends what Introduce has begun at the store. It is for once, and waits while the store tells of keys that it has
// dropped.
func (a *Applier) Close() {
	for _, end := range a.ends {
		a.ask(end)
	}
}

// earlierMeanings returns, by name, what the metrics were before where that is something else. A store that many
// processes share has the word of any of them, which is no reason not to start.
func (a *Applier) earlierMeanings() map[string]meaning.Meaning {
	earlier := map[string]meaning.Meaning{}
	describer, ok := a.Store.(store.Describer)
	if !ok || capability.InfoOf(a.Store).Shared {
		return earlier
	}
	numbers := a.metricNumbers()
	for _, d := range describer.Descriptions() {
		if i, ours := numbers[d.Metric]; ours && meaningOf(d).Differs(meaningOf(a.Metrics[i])) {
			earlier[d.Metric] = meaningOf(d)
		}
	}
	return earlier
}

// admission enters keys that a store holds in the limiters.
type admission struct {
	*Applier
	numbers map[string]int             // of the metrics whose keys are to be entered, by name
	earlier map[string]meaning.Meaning // of metrics that were something else
	others  []int                      // by metric: keys with other attributes
}

// admitAll enters the keys of the store, but for metrics where another component has done that.
func (a *Applier) admitAll(ctx context.Context, m *admission) error {
	maps.DeleteFunc(m.numbers, func(_ string, i int) bool { return a.limiters[i].HasRestored(a.Extractor.Shape(i)) })
	if len(m.numbers) == 0 {
		return nil
	}
	m.others = make([]int, len(a.Metrics))
	defer m.tell()
	for key, err := range m.storedKeys(ctx) {
		if err != nil {
			return fmt.Errorf("list totals: %w", err)
		}
		if err := m.admit(key); err != nil {
			return err
		}
	}
	for _, i := range m.numbers {
		a.limiters[i].SetRestored(a.Extractor.Shape(i))
	}
	return nil
}

// storedKeys yields the keys that are in the store of this process, perhaps those of other metrics too.
func (m *admission) storedKeys(ctx context.Context) iter.Seq2[string, error] {
	switch s := m.Store.(type) {
	case capability.KeyLister:
		return func(yield func(string, error) bool) {
			for metric, i := range m.numbers {
				keys, atMost := s.KeysOf(metric)
				m.limiters[i].Reserve(atMost)
				for key := range keys {
					if !yield(key, nil) {
						return
					}
				}
			}
		}
	case capability.LocalLister:
		return func(yield func(string, error) bool) {
			s.LocalTotals()(func(total store.Total) bool { return yield(total.Key, nil) })
		}
	case store.Lister:
		return func(yield func(string, error) bool) {
			s.Totals(ctx)(func(total store.Total, err error) bool { return yield(total.Key, err) })
		}
	}
	return func(func(string, error) bool) {}
}

// admit enters a key in the limiter of its metric. One that no record can have, of another component or an earlier
// configuration, takes no place.
func (m *admission) admit(text string) error {
	metric, _ := serieskey.MetricOf(text)
	i, ours := m.numbers[metric]
	if !ours {
		return nil
	}
	if before, other := m.earlier[metric]; other {
		return fmt.Errorf("`logs::%s` sums %v, and earlier %v: %w", metric, meaningOf(m.Metrics[i]), before, ErrOtherMeaning)
	}
	if possible, overflow := m.Extractor.CanHave(i, text); possible {
		m.limiters[i].Restore(text, overflow)
	} else {
		m.others[i]++
	}
	return nil
}

// tell logs what holds no place.
func (m *admission) tell() {
	for i, n := range m.others {
		if n > 0 {
			m.Logger.Info("The store has keys of a metric that this configuration does not count: of another component, or an earlier configuration. "+
				"They stay in the totals and take no place in `cardinality_limit`",
				zap.String("metric", m.Metrics[i].Metric), zap.Int("keys", n))
		}
	}
}
