// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emission

import "context"

// Within calls f and returns its error; should ctx end first, that error at once. f is left alone then, and goes on for as long as it
// likes: whoever calls it must not touch what f uses any more.
func Within(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
