// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package deadline bounds waits: for what does not heed its context, and where there is no deadline.
package deadline

import (
	"context"
	"time"

	"github.com/logtally/tallyprocessor/internal/recovered"
)

// Within calls f and returns its error, or its panic as an error; should ctx end first, that error at once. f is left
// alone then, and goes on for as long as it likes: whoever calls it must not touch what f uses any more.
func Within(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- recovered.Call(func() error { return f(ctx) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // both have come
		return err
	default:
		return context.Cause(ctx)
	}
}

// Or returns ctx if it has a deadline, else one that ends after timeout.
func Or(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}
