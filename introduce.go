package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/cardinality"
	"github.com/logtally/tallyprocessor/internal/deadline"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/identity"
	"github.com/logtally/tallyprocessor/internal/meaning"
)

var errOtherMeaning = errors.New("the store has totals of that name which add up something else: give the metric another name, or drop " +
	"those totals (`erase_metrics` of `tally_memory`)")

var errNoAnswer = errors.New("the store does not answer")

func (d Description) meaning() meaning.Meaning { return meaning.Meaning{Unit: d.Unit, Sum: d.Sum} }

// describe returns what a store keeps of metric i.
func (t *tally) describe(i int, x *extract.Extractor) Description {
	m := t.metrics[i]
	return Description{
		Metric: m.name, Description: m.Description, Unit: m.Unit, Sum: m.sum(), CardinalityLimit: m.cardinalityLimit(), Key: x.OnlyKey(i),
	}
}

// startTimeout is how long Start waits for the store where the Collector gives no deadline.
const startTimeout = 30 * time.Second

// introduceWithin is introduce within the deadline of ctx or of startTimeout. What was begun is ended after an error; if the store does not return, when
// it does.
func (t *tally) introduceWithin(ctx context.Context, x *extract.Extractor) error {
	ctx, cancel := deadline.Or(ctx, startTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- t.introduce(ctx, x) }()
	select {
	case err := <-done:
		if err != nil {
			t.end()
		}
		return err
	case <-ctx.Done():
		go func() {
			<-done
			t.end()
		}()
		return fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
	}
}

// introduce tells the store the metrics, and the limiters the keys that the store holds already: those were admitted
// before, and stay so until the store forgets them. An error leaves to end what was begun.
func (t *tally) introduce(ctx context.Context, x *extract.Extractor) error {
	if f, ok := t.store.(Forgetter); ok {
		numbers := t.numbersOfMetrics()
		t.stopForgetter = f.AroundForget(func(drop func() []string) { t.forget(numbers, drop) })
	}
	if err := t.claim(x); err != nil {
		return err
	}
	t.forgetting.Lock() // no key is dropped between its listing and its entry in a limiter
	defer t.forgetting.Unlock()
	if err := t.admitAll(ctx, &admission{tally: t, extractor: x, numbers: t.numbersOfMetrics(), earlier: t.earlierMeanings(x)}); err != nil {
		return err
	}
	if describer, ok := t.store.(Describer); ok {
		for i := range t.metrics {
			describer.Describe(t.describe(i, x))
		}
	}
	return nil
}

// claim says what the metrics are, so that no other component counts something else under their names, and makes their limiters: all
// that count a metric in one store have its limit in common.
func (t *tally) claim(x *extract.Extractor) error {
	claimer, ok := t.store.(Claimer)
	for i, m := range t.metrics {
		keys := cardinality.NewKeys()
		if ok {
			shared, release, err := claimer.Claim(t.describe(i, x), func() any { return keys })
			if err != nil {
				return fmt.Errorf("`logs::%s`: %w", m.name, err)
			}
			t.ends = append(t.ends, release)
			if common, ok := shared.(*cardinality.Keys); ok {
				keys = common
			}
		}
		t.limiters = append(t.limiters, cardinality.NewLimiter(keys, m.cardinalityLimit(), x.LastKey(i)))
		if key := x.OnlyKey(i); key != "" {
			t.limiters[i].Restore(key, false) // it is there before its first record
		}
	}
	return nil
}

// end undoes what introduce has begun at the store.
func (t *tally) end() {
	for _, end := range t.ends {
		end()
	}
	t.stopForgetter()
}

// earlierMeanings returns, by name, what the metrics were before where that is something else. A store that many processes share has
// the word of any of them, which is no reason not to start.
func (t *tally) earlierMeanings(x *extract.Extractor) map[string]meaning.Meaning {
	earlier := map[string]meaning.Meaning{}
	describer, ok := t.store.(Describer)
	if _, shared := t.store.(LocalLister); !ok || shared {
		return earlier
	}
	numbers := t.numbersOfMetrics()
	for _, d := range describer.Descriptions() {
		if i, ours := numbers[d.Metric]; ours && d.meaning().Differs(t.describe(i, x).meaning()) {
			earlier[d.Metric] = d.meaning()
		}
	}
	return earlier
}

// admission enters keys that a store holds in the limiters.
type admission struct {
	tally     *tally
	extractor *extract.Extractor
	numbers   map[string]int             // of the metrics whose keys are to be entered, by name
	earlier   map[string]meaning.Meaning // of metrics that were something else
	others    []int                      // by metric: keys with other attributes
}

// admitAll enters the keys of the store, but for metrics where another component has done that.
func (t *tally) admitAll(ctx context.Context, a *admission) error {
	maps.DeleteFunc(a.numbers, func(_ string, i int) bool { return t.limiters[i].HasRestored(a.extractor.Shape(i)) })
	if len(a.numbers) == 0 {
		return nil
	}
	a.others = make([]int, len(t.metrics))
	defer a.tell()
	for key, err := range a.storedKeys(ctx) {
		if err != nil {
			return fmt.Errorf("list totals: %w", err)
		}
		if err := a.admit(key); err != nil {
			return err
		}
	}
	for _, i := range a.numbers {
		t.limiters[i].SetRestored(a.extractor.Shape(i))
	}
	return nil
}

// keysByMetric is implemented by a store that does not list all its keys to tell those of a metric.
type keysByMetric interface {
	keysOf(metric string) (keys iter.Seq[string], atMost int)
}

// storedKeys yields the keys that are in the store of this process, perhaps those of other metrics too.
func (a *admission) storedKeys(ctx context.Context) iter.Seq2[string, error] {
	switch store := a.tally.store.(type) {
	case keysByMetric:
		return func(yield func(string, error) bool) {
			for metric, i := range a.numbers {
				keys, atMost := store.keysOf(metric)
				a.tally.limiters[i].Reserve(atMost)
				for key := range keys {
					if !yield(key, nil) {
						return
					}
				}
			}
		}
	case LocalLister:
		return func(yield func(string, error) bool) {
			store.LocalTotals()(func(total Total) bool { return yield(total.Key, nil) })
		}
	case Lister:
		return func(yield func(string, error) bool) {
			store.Totals(ctx)(func(total Total, err error) bool { return yield(total.Key, err) })
		}
	}
	return func(func(string, error) bool) {}
}

// admit enters a key in the limiter of its metric. One that no record can have, of another component or an earlier configuration,
// takes no place.
func (a *admission) admit(text string) error {
	metric, _ := identity.MetricOf(text)
	i, ours := a.numbers[metric]
	if !ours {
		return nil
	}
	if before, other := a.earlier[metric]; other {
		return fmt.Errorf("`logs::%s` adds up %v, and before %v: %w", metric, a.tally.describe(i, a.extractor).meaning(), before, errOtherMeaning)
	}
	if possible, overflow := a.extractor.CanHave(i, text); possible {
		a.tally.limiters[i].Restore(text, overflow)
	} else {
		a.others[i]++
	}
	return nil
}

// tell logs what holds no place.
func (a *admission) tell() {
	for i, n := range a.others {
		if n > 0 {
			a.tally.logger.Info("The store has keys of a metric that this configuration does not count: of another component, or an earlier configuration. "+
				"They stay in the totals and take no place in `cardinality_limit`",
				zap.String("metric", a.tally.metrics[i].name), zap.Int("keys", n))
		}
	}
}
