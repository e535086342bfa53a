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
	// Storage is the id of the storage extension that keeps the totals over restarts. nil = they live in memory alone
	// and begin at 0 with each start of the Collector.
	Storage *component.ID `mapstructure:"storage"`

	// FlushInterval is how often what has changed is written to the storage, and so how much counting a crash may
	// lose; it must be positive. Without `storage` nothing is written.
	FlushInterval time.Duration `mapstructure:"flush_interval"`

	// ForgetAfter is how long a key is not counted before it is dropped; its slot in a `cardinality_limit` is free then.
	// 0 = it never is.
	ForgetAfter time.Duration `mapstructure:"forget_after"`

	// Erase names keys that the next start, and no later one, takes out of the Storage for good: those that have all attributes of one of its items,
	// by name and value. A number matches each number that equals it, and any value matches what is shown as it is: 7 the int 7, the
	// double 7.0 and the string "7". It is for a few keys. It is done again after it has changed, or after a start without it.
	Erase []map[string]any `mapstructure:"erase"`

	// EraseMetrics names metrics all of whose totals the next start, and no later one, takes out of the Storage for good, as if they had never been
	// counted: what a metric has left that was renamed, or that counts something else now. It is one request together with Erase.
	EraseMetrics []string `mapstructure:"erase_metrics"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config { return &Config{FlushInterval: defaultFlushInterval} }

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ component.Config    = (*Config)(nil)
)

// Unmarshal reads the configuration. If any of it cannot be read, the error has all mistakes, those of Validate as well.
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
