// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package redisstore

// The race detector allocates by itself. `make test` runs these tests a second time, without it.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/logtally/tallyprocessor/internal/redistest"
)

// Counting a key that is known allocates nothing.
func TestCountingAllocations(t *testing.T) {
	cfg := testConfig(redistest.Start(t).Addr())
	cfg.FlushInterval, cfg.HeartbeatInterval, cfg.WriterExpiry = time.Hour, time.Hour, 24*time.Hour
	s := open(t, cfg).store
	key := loadKey(1)
	counter := s.Bind(key)
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Add(key, 3) }))
	assert.Zero(t, testing.AllocsPerRun(100, func() { counter.Add(3, time.Time{}) }))
}

// Taking apart what a flush of a thousand keys needs allocates a small constant besides one argument for each key.
func TestFlushAllocations(t *testing.T) {
	l := newLocal(1, 10_000)
	s := newSlot(&l.shards[0])
	s.generation = "generation"
	for i := range chunk {
		l.add(loadKey(i), 3)
	}
	s.collect()
	f := s.next()
	assert.Less(t, testing.AllocsPerRun(20, func() { s.flushArgs(f, 1, modelPeriods) }), float64(chunk+50))
}
