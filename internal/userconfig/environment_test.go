// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig_test

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// resolve returns the configuration that a map is with texts in the place of their references.
func resolve(t *testing.T, values map[string]any, texts texts) (*confmap.Conf, error) {
	t.Helper()
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{"main:"},
		ProviderFactories: []confmap.ProviderFactory{
			confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return texts }),
			confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return main(values) }),
		},
	})
	require.NoError(t, err)
	return resolver.Resolve(t.Context())
}

// Text from the environment is text, whatever it would be in YAML: a list, a section, a number.
func TestTextsFromTheEnvironment(t *testing.T) {
	pieces := []string{"[", "]", "{", "}", "a: b", ": ", ",", `"`, "'", " ", "x", "12", "1h", "true", `attributes["k"] == "a: b"`, "- ", "#", "&", "*", "!", "|", "é"}
	r := rand.New(rand.NewPCG(1, 2))
	differ := 0
	for range evidence.Rounds(40, 20_000) {
		var text strings.Builder
		for range 1 + r.IntN(5) {
			text.WriteString(pieces[r.IntN(len(pieces))])
		}
		if r, err := confmap.NewRetrievedFromYAML([]byte(text.String())); err == nil {
			if raw, _ := r.AsRaw(); raw == nil {
				continue // what is null keeps its default
			}
		}
		for name := range factories {
			for _, o := range optionsOf(name) {
				var quoted, reference any = text.String(), "${texts:text}"
				switch {
				case o.kind.Kind() == reflect.Slice && o.kind.Elem().Kind() == reflect.String:
					quoted, reference = []any{quoted}, []any{reference}
				case o.kind.Kind() != reflect.String:
					continue
				}
				conf, err := resolve(t, o.with(reference), texts{"text": text.String()})
				if err != nil {
					continue // the Collector itself takes no such text
				}
				want, got := factories[name].CreateDefaultConfig(), factories[name].CreateDefaultConfig()
				wantErr, gotErr := confmap.NewFromStringMap(o.with(quoted)).Unmarshal(want), conf.Unmarshal(got)
				require.Equal(t, wantErr == nil, gotErr == nil, "%s: %v: %q: %v, and in quotes %v", name, o, text.String(), gotErr, wantErr)
				if wantErr == nil {
					assert.Equal(t, want, got, "%s: %v: %q", name, o, text.String())
				}
				if !reflect.DeepEqual(conf.ToStringMap(), o.with(quoted)) {
					differ++
				}
			}
		}
	}
	assert.Greater(t, differ, 100, "the test has texts that are something else in YAML")
}

// main is a provider of a configuration.
type main map[string]any

func (m main) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrieved(map[string]any(m))
}
func (main) Scheme() string                 { return "main" }
func (main) Shutdown(context.Context) error { return nil }
