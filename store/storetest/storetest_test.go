// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smallest is the smallest store there can be: two methods.
type smallest struct {
	mu     sync.Mutex
	totals map[string]int
}

func (s *smallest) Inc(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals[key]++
}

func (s *smallest) Get(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals[key]
}

func TestSmallestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.MetricStore { return &smallest{totals: map[string]int{}} })
}

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.MetricStore { return tallyprocessor.NewMemoryStore() })
}

func TestMemoryStoreThatForgets(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.MetricStore {
		return tallyprocessor.NewMemoryStore(tallyprocessor.WithForgetAfter(time.Second))
	})
}
