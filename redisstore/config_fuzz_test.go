// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/redisstore/internal/metadata"
)

func FuzzConfig(f *testing.F) {
	f.Cleanup(awaitLibrary)
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, cfg component.Config) (component.Component, error) {
		c := cfg.(*Config)
		c.Endpoints = []string{"127.0.0.1:1"} // nobody listens there
		c.ShutdownTimeout = time.Millisecond
		if c.Shards > 1000 || c.MaxKeys > 1_000_000 {
			t.Skip("it is valid, and takes the memory that it asks for")
		}
		return NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	}, "endpoints: [localhost:6379]\ntls: {insecure: true}", "endpoints: [a:1, b:2]\nsentinel: {master_name: m}", "cluster: true\ndb: 0\nendpoints: [x:1]\nshards: 4", "key_prefix: \"{\"", "password: ${env:X}\nusername: u")
}
