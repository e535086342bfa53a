// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package statestorage opens the storage extensions that stores keep their state in, and reads it: what is damaged, or
// of another, is told apart in one way.
package statestorage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/deadline"
)

var (
	// ErrNotFound says that there is no extension of the id that is named as `storage`.
	ErrNotFound = errors.New("storage extension not found; is it listed under service::extensions?")
	// ErrNotAStorage says that the extension which is named as `storage` is none.
	ErrNotAStorage = errors.New("extension is not a storage")
	// ErrNoAnswer says that the storage has not answered in time.
	ErrNoAnswer = errors.New("storage does not answer")
	// ErrPanic says that the storage has panicked.
	ErrPanic = errors.New("storage panicked")
)

// StartTimeout is how long a store waits for its storage when it starts, where the Collector gives no deadline.
const StartTimeout = 30 * time.Second

// Client keeps the state of one extension in a storage. Its calls end with their context, whatever the storage does:
// one that outlasts its context is left behind, and the next waits for it, so that the storage has one at a time. A
// panic of the storage is an error.
type Client struct {
	inner storage.Client
	free  chan struct{} // holds a token while no call is in the storage
}

// Open returns a client of the storage extension id for the extension owner. The caller closes it.
func Open(ctx context.Context, host component.Host, id, owner component.ID) (*Client, error) {
	found, ok := host.GetExtensions()[id]
	if !ok {
		return nil, fmt.Errorf("`storage` is %q: %w", id, ErrNotFound)
	}
	ext, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("`storage` is %q: %w", id, ErrNotAStorage)
	}
	c := &Client{free: make(chan struct{}, 1)}
	c.free <- struct{}{}
	err := c.call(ctx, func() (err error) {
		c.inner, err = ext.GetClient(ctx, component.KindExtension, owner, "")
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			_ = c.Close(ctx) // it may come yet
		}
		return nil, fmt.Errorf("`storage` is %q: open client: %w", id, err)
	}
	return c, nil
}

// Batch does what storage.Client says. After an error the storage may have done it, may yet do it, or not.
func (c *Client) Batch(ctx context.Context, ops ...*storage.Operation) error {
	return c.call(ctx, func() error {
		if err := ctx.Err(); err != nil {
			return err // what came before has taken so long that nobody waits
		}
		return c.inner.Batch(ctx, ops...)
	})
}

// Close closes the client, after a call that was left behind.
func (c *Client) Close(ctx context.Context) error {
	err := c.call(ctx, func() error {
		if c.inner == nil {
			return nil
		}
		return c.inner.Close(context.WithoutCancel(ctx))
	})
	if err != nil {
		return fmt.Errorf("close storage client: %w", err)
	}
	return nil
}

// call calls the storage, when it is free.
func (c *Client) call(ctx context.Context, f func() error) error {
	err := deadline.Within(ctx, func(context.Context) error {
		<-c.free
		defer func() { c.free <- struct{}{} }()
		return guard(f)
	})
	if err != nil && errors.Is(err, context.Cause(ctx)) {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return err
}

// guard calls a storage and returns its panic as an error: a damaged file makes some of them panic, or fault where the
// file is mapped into memory and has become shorter.
func guard(call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, r, debug.Stack())
		}
	}()
	return call()
}
