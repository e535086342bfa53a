// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package kept opens the storage extensions that stores keep their state in.
package kept

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var (
	// ErrNotFound says that there is no extension of the id that is named as `storage`.
	ErrNotFound = errors.New("storage extension not found; is it listed under service::extensions?")
	// ErrNotAStorage says that the extension which is named as `storage` is none.
	ErrNotAStorage = errors.New("extension is not a storage")
	// ErrPanic says that the storage has panicked.
	ErrPanic = errors.New("storage panicked")
)

// Open returns a client of the storage extension id for the extension owner. The caller closes it.
func Open(ctx context.Context, host component.Host, id, owner component.ID) (client storage.Client, err error) {
	found, ok := host.GetExtensions()[id]
	if !ok {
		return nil, fmt.Errorf("`storage` is %q: %w", id, ErrNotFound)
	}
	ext, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("`storage` is %q: %w", id, ErrNotAStorage)
	}
	err = Guard(func() error {
		client, err = ext.GetClient(ctx, component.KindExtension, owner, "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("`storage` is %q: open client: %w", id, err)
	}
	return client, nil
}

// Guard calls a storage and returns its panic as an error: a damaged file makes some of them panic, or fault where the file is
// mapped into memory and has become shorter.
func Guard(call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, r, debug.Stack())
		}
	}()
	return call()
}
