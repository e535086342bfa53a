// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/internal/emit"
	"github.com/logtally/tallyprocessor/internal/userconfig"
)

const defaultFlushInterval = 15 * time.Second

// ProcessorConfig is the configuration of the processor without its methods: part of a larger configuration, it cannot
// be the one to read and to validate it.
type ProcessorConfig tallyprocessor.Config

func (c *ProcessorConfig) config() *tallyprocessor.Config { return (*tallyprocessor.Config)(c) }

// Config is the configuration of the connector: that of the processor, and how to emit.
type Config struct {
	// Tally are the options of the [processor](#processor-tally). `*` in a `key` is literal, an attribute may be
	// listed twice, and a metric may have any name, as for the `count` connector.
	Tally ProcessorConfig `mapstructure:",squash"`

	// FlushInterval is the time between two emissions.
	//
	// Valid: 1ms or more.
	FlushInterval time.Duration `mapstructure:"flush_interval"`

	// Temporality is the aggregation temporality of the metrics.
	//
	// Valid: `cumulative` or `delta`.
	Temporality emit.Temporality `mapstructure:"temporality"`

	// StaleAfter is how long a series is unchanged before it ends with a point without a recorded value. 0 keeps idle
	// series.
	//
	// Valid: 0, or 1ms or more, and at least `flush_interval`; at most `forget_after`; 0 with `delta`.
	StaleAfter time.Duration `mapstructure:"stale_after"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config {
	tally := tallyprocessor.NewFactory().CreateDefaultConfig().(*tallyprocessor.Config)
	tally.LikeCount = true
	return &Config{
		Tally:         ProcessorConfig(*tally),
		FlushInterval: defaultFlushInterval,
		Temporality:   emit.Cumulative,
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }

// Validate returns all mistakes, each with its YAML key and the value found.
func (c *Config) Validate() error {
	errs := []error{
		c.Tally.config().Validate(),
		userconfig.Positive("flush_interval", c.FlushInterval),
		userconfig.Duration("flush_interval", c.FlushInterval),
		userconfig.Duration("stale_after", c.StaleAfter),
	}
	if err := new(emit.Temporality).UnmarshalText([]byte(c.Temporality)); err != nil {
		errs = append(errs, fmt.Errorf("`temporality`: %w", err))
	}
	errs = append(errs, emit.ValidateStaleAfter(c.StaleAfter, c.Temporality, "flush_interval", c.FlushInterval))
	if c.Tally.ForgetAfter > 0 && c.Tally.ForgetAfter < c.StaleAfter {
		errs = append(errs, fmt.Errorf("`stale_after` is %v: %w, where it is %v", c.StaleAfter, emit.ErrForgetsFirst, c.Tally.ForgetAfter))
	}
	return errors.Join(errs...)
}
