// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/metadata"
)

func FuzzConfig(f *testing.F) {
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, cfg component.Config) (component.Component, error) {
		cfg.(*Config).Server.NetAddr.Endpoint = "127.0.0.1:0"
		return NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	}, "store: tally_memory\nendpoint: localhost:0", "store: s\nallowed_hosts: [a, \"*\"]\nmax_items: 3", "store: s\ntls: {cert_file: none}", "store: s\ncors: {allowed_origins: [\"*\"]}", "store: s\nmax_sample_load: .nan\ncursor_lifetime:")
}
