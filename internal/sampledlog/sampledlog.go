// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package sampledlog keeps a state that lasts from filling the log.
package sampledlog

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Every is how often a message that is repeated is passed on.
const Every = time.Minute

// New returns a logger that passes each message on once every minute, and drops it in between, whatever its fields are.
// Messages that end a state belong to the logger itself: a sampled one could be missing.
func New(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, Every, 1, 0)
	}))
}
