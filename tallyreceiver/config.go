// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyreceiver

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/userconfig"
)

const defaultCollectionInterval = 10 * time.Second

// Config is the configuration of the receiver. `collection_interval` (10s) is the time between two emissions.
type Config struct {
	scraperhelper.ControllerConfig `mapstructure:",squash"`

	// Store is the id of the extension whose store to read; it is required.
	Store *component.ID `mapstructure:"store"`

	// Temporality is `cumulative` (the default) or `delta`.
	Temporality emit.Temporality `mapstructure:"temporality"`

	// StaleAfter is how long a key is unchanged before its series ends with a point that has no recorded value. 0 = it does
	// not. It takes cumulative temporality, and must not be shorter than `collection_interval`.
	StaleAfter time.Duration `mapstructure:"stale_after"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config {
	cfg := &Config{ControllerConfig: scraperhelper.NewDefaultControllerConfig(), Temporality: emit.Cumulative}
	cfg.CollectionInterval = defaultCollectionInterval
	return cfg
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }

var errNoStore = errors.New("`store` is missing: it must be the id of a store extension")

// Validate returns all mistakes, each with its YAML key and the value found.
func (c *Config) Validate() error {
	errs := []error{
		userconfig.Positive("collection_interval", c.CollectionInterval),
		userconfig.NotNegative("timeout", c.Timeout),
		userconfig.Durations(c),
	}
	if c.Store == nil {
		errs = append(errs, errNoStore)
	}
	if err := new(emit.Temporality).UnmarshalText([]byte(c.Temporality)); err != nil {
		errs = append(errs, fmt.Errorf("`temporality`: %w", err))
	}
	errs = append(errs, emit.ValidateStaleAfter(c.StaleAfter, c.Temporality, "collection_interval", c.CollectionInterval))
	return errors.Join(errs...)
}
