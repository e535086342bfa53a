// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package sampledlog

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestEachMessageOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.InfoLevel)
		logger := New(zap.New(core))
		for i := range 150 {
			logger.Warn("away", zap.Int("second", i))
			logger.Info("behind")
			time.Sleep(time.Second)
		}
		assert.Equal(t, 3, lines.FilterMessage("away").Len())
		assert.Equal(t, 3, lines.FilterMessage("behind").Len())
	})
}
