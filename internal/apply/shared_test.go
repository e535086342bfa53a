// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/ledger"
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// quiet is an Observer that nobody asks.
type quiet struct{ panics atomic.Int64 }

func (*quiet) NewKey(int, string)           {}
func (*quiet) KeyDropped(int, string, bool) {}
func (*quiet) Overflowed(int)               {}
func (q *quiet) Panicked(int, any)          { q.panics.Add(1) }

// Appliers come and go on one store, with one limit in common, while it drops keys: nothing is lost, and in the end the
// limit of one that was there all the time has the keys of the store.
func TestAppliersComeAndGo(t *testing.T) {
	for seed := range uint64(6) {
		s := memory.New()
		x := extract.New(extract.Settings{
			ResourceAttributes: []string{}, Metrics: []extract.Metric{{Name: "m", Attributes: []extract.Attribute{{Key: "a"}}}},
		})
		q, limit := &quiet{}, []int{0, 7}[seed%2]
		meet := func() *Applier {
			a := New(Settings{
				Logger: zap.NewNop(), Store: s, Extractor: x, Observer: q,
				Metrics: []store.Description{{Metric: "m", Sum: sumOfRecords, CardinalityLimit: limit}},
			})
			assert.NoError(t, a.Introduce(t.Context()))
			return a
		}
		stays := meet()
		stop := make(chan struct{})
		var coming, dropping sync.WaitGroup
		dropping.Go(func() {
			r := rand.New(rand.NewPCG(seed, 99))
			for {
				select {
				case <-stop:
					return
				default:
					s.Forget(func(string) bool { return r.IntN(3) == 0 })
				}
			}
		})
		var sent atomic.Int64
		for i := range uint64(3) {
			coming.Go(func() {
				r := rand.New(rand.NewPCG(seed, i))
				for range 15 {
					a := meet()
					work := a.Worker(ledger.New(1, 1).Ledgers()[0])
					for range 1 + r.IntN(8) {
						batch, err := x.Extract(t.Context(), batchOf(r.IntN(20), r.IntN(20), r.IntN(20)))
						if assert.NoError(t, err) {
							work(batch)
							sent.Add(3)
						}
					}
					a.Close()
				}
			})
		}
		coming.Wait()
		close(stop)
		dropping.Wait()
		sum, stored := s.Forgotten()["m"].Total, 0
		for total := range s.Totals(t.Context()) {
			sum += total.Value
			stored++
		}
		assert.EqualValues(t, sent.Load(), sum)
		keys, overflow := stays.Keys(0)
		assert.Equal(t, stored, keys+overflow, "seed %d, limit %d", seed, limit)
		assert.Zero(t, q.panics.Load())
		stays.Close()
	}
}
