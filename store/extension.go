// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// StoreExtension is implemented by an extension that offers a MetricStore to the components that name it as their
// `store`. Anybody can write one; storetest checks the store.
type StoreExtension interface { //nolint:revive // the root package has it under this name too
	extension.Extension

	// MetricStore returns the store of the extension, the same at every call. It is called after the extension's Start
	// has returned, and what it returns is used until the extension's Shutdown is called: the Collector shuts down the
	// components that use it first.
	MetricStore() MetricStore
}

var (
	// ErrNotFound says that there is no extension of the id that a component names as its `store`.
	ErrNotFound = errors.New("store extension not found; is it listed under service::extensions?")
	// ErrNotAStore says that the extension which a component names as its `store` offers none.
	ErrNotAStore = errors.New("extension is not a store")
)

// Find returns the store of the extension id.
func Find(host component.Host, id component.ID) (MetricStore, error) {
	ext, ok := host.GetExtensions()[id]
	if !ok {
		return nil, fmt.Errorf("`store` is %q: %w", id, ErrNotFound)
	}
	e, ok := ext.(StoreExtension)
	if !ok {
		return nil, fmt.Errorf("`store` is %q: %w", id, ErrNotAStore)
	}
	store := e.MetricStore()
	if store == nil {
		return nil, fmt.Errorf("`store` is %q: %w: it gives none", id, ErrNotAStore)
	}
	return store, nil
}
