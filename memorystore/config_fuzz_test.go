// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/memorystore/internal/metadata"
)

func FuzzConfig(f *testing.F) {
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, cfg component.Config) (component.Component, error) {
		return NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	}, "storage: file_storage", "flush_interval: 1s\nforget_after: 24h")
}
