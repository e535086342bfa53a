// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package recovered makes an error of a panic, for code of others that runs in goroutines of ours: nobody else could
// recover it.
package recovered

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrPanic says that the code has panicked.
var ErrPanic = errors.New("panicked")

// Call returns the error of f, or its panic as an error, with the stack but without the value, which may have log
// content.
func Call(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %T\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return f()
}
