// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package userconfig reads configurations as people write them: of each thing that is wrong it says where it is and
// what to write instead, and of all of them at once.
package userconfig

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"go.opentelemetry.io/collector/confmap"
)

// Unmarshal reads conf into cfg, a pointer to the struct of a component, whose method Unmarshal calls it. What is null
// keeps its default. If anything is wrong it also validates what could be read, so that the error has all mistakes.
// conf loses the values that are null or at fault. fixed may have options that cfg had once.
func Unmarshal(conf *confmap.Conf, cfg any, fixed ...Fixed) error {
	r := reader{root: reflect.TypeOf(cfg).Elem(), fixed: fixed}
	r.fields(nil, r.root, conf.ToStringMap())
	for _, path := range slices.Concat(r.unreadable, r.nulls) {
		conf.Delete(path)
	}
	var options []confmap.UnmarshalOption
	if len(r.errs) > 0 {
		options = append(options, confmap.WithIgnoreUnused()) // they are told already
	}
	err := errors.Join(errors.Join(r.errs...), r.explain("", conf.Unmarshal(cfg, options...)))
	if err != nil {
		return errors.Join(err, confmap.Validate(cfg))
	}
	return nil
}

// explain words what mapstructure says of single values as this package does, unless that is told already. What it
// cannot, it leaves as it is. Sections that read themselves have errors of their own below path.
func (r *reader) explain(path string, err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, err := range list.Unwrap() {
			errs = append(errs, r.explain(path, err))
		}
		return errors.Join(errs...)
	}
	if failed, ok := err.(*mapstructure.DecodeError); ok { //nolint:errorlint // what it wraps is looked at below
		path = strings.TrimPrefix(path+confmap.KeyDelimiter+pathOf(failed.Name()), confmap.KeyDelimiter)
		path = strings.TrimSuffix(path, confmap.KeyDelimiter)
	}
	var inner *mapstructure.DecodeError
	switch cause := errors.Unwrap(err); {
	case errors.As(cause, &inner):
		return r.explain(path, cause)
	case cause == nil || path == "":
		return err
	case slices.Contains(r.unreadable, path):
		return nil
	default:
		return fmt.Errorf("`%s`: %w", path, explainCause(cause))
	}
}

// explainCause never shows the value, which may be a secret.
func explainCause(err error) error {
	var wrong *mapstructure.UnconvertibleTypeError
	if errors.As(err, &wrong) && wrong.Expected.Kind() == reflect.String {
		return errNotText
	}
	return err
}

// pathOf turns a name as mapstructure writes it, `logs[a.b].attributes[0].key`, into a path as the Collector does.
func pathOf(name string) string {
	var path strings.Builder
	inside := false
	for _, c := range name {
		switch {
		case c == '[' && !inside:
			inside = true
			path.WriteString(confmap.KeyDelimiter)
		case c == ']' && inside:
			inside = false
		case c == '.' && !inside:
			path.WriteString(confmap.KeyDelimiter)
		default:
			path.WriteRune(c)
		}
	}
	return path.String()
}
