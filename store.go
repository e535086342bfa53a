// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"github.com/logtally/tallyprocessor/internal/memory"
	"github.com/logtally/tallyprocessor/store"
)

// The contract of stores is that of package store. These are its names for who embeds the processor.
type (
	// MetricStore keeps one running total per key.
	MetricStore = store.MetricStore
	// StoreExtension is an extension that offers a MetricStore.
	StoreExtension = store.StoreExtension
	// Lister is a MetricStore that can list what it holds.
	Lister = store.Lister
	// Total is what a store knows of one key.
	Total = store.Total
)

// MemoryStore is a MetricStore in memory. It implements all that is optional in package store but Flusher, and is safe
// for concurrent use. The cardinality limit of the processor is what bounds it, and WithForgetAfter: without that it
// never drops a key.
//
// A type that embeds a *MemoryStore and overrides some of its methods is counted in by Inc alone. One that overrides
// Add and Bind as well, and has a method Self() MetricStore that returns it, is counted in by those.
type MemoryStore = memory.Store

// MemoryStoreOption changes what NewMemoryStore makes.
type MemoryStoreOption = memory.Option

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore(options ...MemoryStoreOption) *MemoryStore { return memory.New(options...) }

// WithForgetAfter makes a MemoryStore drop keys that were not counted for a time, while its KeepForgetting runs. 0 =
// never.
var WithForgetAfter = memory.WithForgetAfter
