package tallyprocessor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/identity"
)

// keysOfNaively is keysOf by a look at every key.
func keysOfNaively(t *testing.T, s *MemoryStore, metric string) (keys []string) {
	t.Helper()
	for total, err := range s.Totals(t.Context()) {
		require.NoError(t, err)
		if name, _ := identity.MetricOf(total.Key); name == metric {
			keys = append(keys, total.Key)
		}
	}
	return keys
}

// Whatever comes and goes between, the keys of a metric are those that the listing has.
func TestKeysOfAMetric(t *testing.T) {
	metrics := []string{"m", "m.more", "", `q"uoted`, "é\\", "n"}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := NewMemoryStore(WithForgetAfter(time.Hour))
		for range 300 {
			key := identity.Key{Metric: metrics[r.IntN(len(metrics))], Attributes: []identity.Attribute{{Name: "a", Value: identity.IntValue(int64(r.IntN(9)))}}}.String()
			switch r.IntN(6) {
			case 0:
				s.Add(key, r.IntN(2))
			case 1:
				s.Bind(key)
			case 2:
				s.Restore(Total{Key: key, Value: r.IntN(2), Start: time.Now(), Last: time.Now()})
			case 3:
				s.Forget(func(k string) bool { return k == key })
			default:
				for _, metric := range metrics {
					keys, atMost := s.keysOf(metric)
					got := slices.Collect(keys)
					require.ElementsMatch(t, keysOfNaively(t, s, metric), got, "seed %d", seed)
					require.GreaterOrEqual(t, atMost, len(got))
				}
			}
		}
	}
}

// A listing that runs while keys come and go is not taken for what there is afterwards.
func TestKeysOfAMetricWhileKeysComeAndGo(t *testing.T) {
	s := NewMemoryStore(WithForgetAfter(time.Hour))
	for range 20 {
		var changing sync.WaitGroup
		for a := range 3 {
			changing.Go(func() {
				for i := range 200 {
					s.Inc(fmt.Sprintf(`["m%d",{},{"i":%d}]`, i%2, a*200+i))
				}
				s.Forget(func(key string) bool { return len(key)%2 == a%2 })
			})
		}
		for range 20 {
			s.keysOf("m0")
		}
		changing.Wait()
		for _, metric := range []string{"m0", "m1"} {
			keys, _ := s.keysOf(metric)
			require.ElementsMatch(t, keysOfNaively(t, s, metric), slices.Collect(keys))
		}
	}
}

// However many processors start, the store is listed once; it keeps nothing of that when counting goes on.
func TestStartsListTheStoreOnce(t *testing.T) {
	store := NewMemoryStore()
	for i := range 100 {
		store.Inc(fmt.Sprintf(`["m%d",{},{"i":%d}]`, i%4, i))
	}
	var listed *listedKeys
	for i := range 6 {
		_, err := startOn(t, fmt.Sprintf("tally/%d", i), fmt.Sprintf(`{store: shared, logs: {m%d: {attributes: [{key: i}]}, m%d: {attributes: [{key: i}]}}}`, i%4, 3-i%4), hostWith(store))
		require.NoError(t, err)
		if i == 0 {
			listed = store.keys.latest.Load()
			require.NotNil(t, listed)
		}
		require.Same(t, listed, store.keys.latest.Load())
	}
	store.Inc(`["m0",{},{"i":0}]`)
	assert.NotNil(t, store.keys.latest.Load(), "no key is new")
	store.Inc(`["m0",{},{"i":100}]`)
	assert.Nil(t, store.keys.latest.Load())
}

// Processors of one metric hold together the keys that any of them can have, in whatever order they start and end, and whatever came and went
// meanwhile: as one does that starts last over the same store.
func TestKeysInCommonOfSeveralStarts(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 11))
		shapes := []string{randomShape(r), randomShape(r)}
		store := NewMemoryStore(WithForgetAfter(time.Hour))
		before := logs(30, func(_ int, record plog.LogRecord) { putSome(r, record) })
		run(t, "tally/before", shapes[r.IntN(2)], hostWith(store), before)
		want := map[string]bool{}
		for n := range 5 {
			shape := shapes[r.IntN(2)]
			p, err := startOn(t, fmt.Sprintf("tally/%d", n), shape, hostWith(store))
			require.NoError(t, err)
			require.NoError(t, p.ConsumeLogs(t.Context(), logs(3, func(_ int, record plog.LogRecord) { putSome(r, record) })))
			settle(t, p)
			want[shape] = true
			if r.IntN(2) == 0 {
				store.Forget(func(key string) bool { return (len(key)+int(seed))%3 == 0 })
			}
			held, _ := p.(*logsProcessor).tally.limiters[0].Len()
			possible := 0
			for total := range store.Totals(t.Context()) {
				if slices.ContainsFunc(shapes, func(s string) bool { return want[s] && canCount(t, s, total.Key) }) {
					possible++
				}
			}
			if p.(*logsProcessor).extractor.OnlyKey(0) != "" {
				break // it is there before its first record, and may be forgotten
			}
			require.Equal(t, possible, held, "seed %d: %v", seed, shapes)
		}
	}
}

func putSome(r *rand.Rand, record plog.LogRecord) {
	for _, name := range []string{"a", "b", "b.c", "d"} {
		if r.IntN(3) > 0 {
			record.Attributes().PutInt(name, int64(r.IntN(3)))
		}
	}
}

// Ten processors that count one metric take its keys once.
func BenchmarkStartOfOneMetric(b *testing.B) {
	const processors, keys = 10, 100_000
	store := NewMemoryStore()
	for i := range keys {
		store.Inc(fmt.Sprintf(`["m",{"service.name":"checkout"},{"http.route":"/cart","user":"u%d"}]`, i))
	}
	for b.Loop() {
		var running []func()
		for range processors {
			p := startedOver(b, store, `logs: {m: {cardinality_limit: 0, attributes: [{key: http.route}, {key: user}]}}`)
			running = append(running, func() { require.NoError(b, p.Shutdown(b.Context())) })
		}
		for _, end := range running {
			end()
		}
	}
}
