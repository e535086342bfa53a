// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package memorystore

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logtally/tallyprocessor/internal/userconfig"
)

const defaultFlushInterval = time.Second

// Config is the configuration of the extension.
type Config struct {
	// Storage is the ID of the storage extension that keeps the totals over restarts.
	//
	// Default: none: the totals are in memory only and start at 0 with the Collector.
	Storage *component.ID `mapstructure:"storage"`

	// FlushInterval is the time between two writes of changed totals to `storage`. A crash loses at most the counts
	// of this time.
	//
	// Valid: 1ms or more.
	FlushInterval time.Duration `mapstructure:"flush_interval"`

	// ForgetAfter is how long a series is idle before it is dropped. Its place in `cardinality_limit` is free then. 0
	// keeps idle series.
	//
	// Valid: 0, or 1ms or more.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	// Erase deletes series from `storage` at the next start: those that have all attributes of one item, by name and
	// value. `7` matches the integer 7, the double 7.0 and the string "7". The request is done once: a later start with
	// the same request does nothing. Remove the option after that start.
	//
	// Valid: not empty sections of attribute names and values; takes `storage`.
	Erase []map[string]any `mapstructure:"erase"`

	// EraseMetrics deletes all series of the named metrics from `storage` at the next start, for metrics that were
	// renamed or count something else now. It is one request with `erase`, done once.
	//
	// Valid: names of metrics; takes `storage`.
	EraseMetrics []string `mapstructure:"erase_metrics"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config { return &Config{FlushInterval: defaultFlushInterval} }

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as
// well.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return userconfig.Unmarshal(conf, c) }

// Validate returns every mistake.
func (c *Config) Validate() error {
	errs := []error{
		userconfig.Positive("flush_interval", c.FlushInterval),
		userconfig.NotNegative("forget_after", c.ForgetAfter),
		userconfig.Durations(c),
	}
	if _, err := newEraser(c.Erase); err != nil {
		errs = append(errs, err)
	}
	if len(c.Erase) > 0 && c.Storage == nil {
		errs = append(errs, fmt.Errorf("`erase`: %w", errNothingKept))
	}
	if len(c.EraseMetrics) > 0 && c.Storage == nil {
		errs = append(errs, fmt.Errorf("`erase_metrics`: %w", errNothingKept))
	}
	return errors.Join(errs...)
}
