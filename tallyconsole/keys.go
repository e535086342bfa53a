package tallyconsole

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

var _ confmap.Unmarshaler = (*Config)(nil)

// Unmarshal reads the configuration, and refuses keys that nobody reads: confmap lets those pass where the configuration of an
// HTTP server is a part of another.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	known := map[string]bool{}
	addKeys(known, reflect.TypeFor[Config]())
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(conf.ToStringMap())) {
		if !known[key] {
			errs = append(errs, fmt.Errorf("`%s` is no key of this extension", key))
		}
	}
	return errors.Join(errs...)
}

// addKeys adds the YAML keys of a struct, and of those that are squashed into it.
func addKeys(known map[string]bool, t reflect.Type) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		switch {
		case strings.Contains(options, "squash"):
			addKeys(known, f.Type)
		case name != "":
			known[name] = true
		}
	}
}
