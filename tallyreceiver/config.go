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

// Config is the configuration of the receiver.
type Config struct {
	scraperhelper.ControllerConfig `mapstructure:",squash"`

	// Store is the ID of the store extension to read.
	//
	// Default: required.
	Store *component.ID `mapstructure:"store"`

	// Temporality is the aggregation temporality of the metrics. A store that a fleet shares (`tally_redis`) takes
	// `cumulative` only.
	//
	// Valid: `cumulative` or `delta`.
	Temporality emit.Temporality `mapstructure:"temporality"`

	// StaleAfter is how long a series is unchanged before it ends with a point without a recorded value. 0 keeps idle
	// series.
	//
	// Valid: 0, or 1ms or more, and at least `collection_interval`; at most `forget_after` of the store; 0 with
	// `delta`.
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

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }

var errNoStore = errors.New("`store` is missing: it must be the id of a store extension")

// Validate returns all mistakes, each with its YAML key and the value found.
func (c *Config) Validate() error {
	errs := []error{
		userconfig.Positive("collection_interval", c.CollectionInterval),
		userconfig.NotNegative("initial_delay", c.InitialDelay),
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
