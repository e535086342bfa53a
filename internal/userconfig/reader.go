// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/confmap"
)

var (
	errNotText    = errors.New("must be text: write it in quotes")
	errNotBool    = errors.New("must be `true` or `false`, without quotes")
	errNotInteger = errors.New("must be an integer")
	errNotList    = errors.New("must be a list: write `- ` before each item")
	errTooLarge   = errors.New("is too large")
)

// reader compares YAML with the struct that it is for.
type reader struct {
	root       reflect.Type
	fixed      []Fixed
	errs       []error
	unreadable []string // paths of the values that confmap would misread
	nulls      []string // paths of the values that are null, for which confmap takes 0
}

// wrong notes that a value cannot be read.
func (r *reader) wrong(path []string, format string, args ...any) {
	where := join(path)
	r.errs = append(r.errs, fmt.Errorf("`%s` "+format, append([]any{where}, args...)...))
	r.unreadable = append(r.unreadable, where)
}

func join(path []string) string { return strings.Join(path, confmap.KeyDelimiter) }

func below(path []string, key string) []string { return append(slices.Clip(path), key) }

// fields compares a map with the fields of a struct.
func (r *reader) fields(path []string, t reflect.Type, values map[string]any) {
	fields := fieldsOf(t)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		field, known := fields.types[key]
		switch {
		case known:
			r.value(below(path, key), field, values[key])
		case !fields.open:
			r.errs = append(r.errs, r.unknown(path, key, t))
		}
	}
}

// value compares a value with the type that it is for. What it does not know is for confmap to judge.
func (r *reader) value(path []string, t reflect.Type, value any) {
	t = plain(t)
	switch {
	case value == nil:
		r.nulls = append(r.nulls, join(path))
	case t == reflect.TypeFor[time.Duration]():
		r.duration(path, value)
	case implements[encoding.TextUnmarshaler](t):
		r.word(path, t, value)
	case t.Kind() == reflect.Struct && !implements[confmap.Unmarshaler](t):
		r.section(path, t, value)
	case t.Kind() == reflect.Map:
		r.named(path, t.Elem(), value)
	case t.Kind() == reflect.Slice && !implements[confmap.Unmarshaler](t):
		r.list(path, t.Elem(), value)
	default:
		r.scalar(path, t, value)
	}
}

func (r *reader) section(path []string, t reflect.Type, value any) {
	if values, ok := value.(map[string]any); ok {
		r.fields(path, t, values)
		return
	}
	r.wrong(path, "must be a section with the keys %s", keyList(t))
}

// named compares a map whose keys are the user's.
func (r *reader) named(path []string, t reflect.Type, value any) {
	values, ok := value.(map[string]any)
	if !ok {
		r.wrong(path, "must be a section with a key for each name, such as `%s`", join(below(path, "name:")))
		return
	}
	t = plain(t)
	nulls := r.nulls // what is null in here has no other default than 0
	for _, name := range slices.Sorted(maps.Keys(values)) {
		at := below(path, name)
		_, isSection := values[name].(map[string]any)
		if _, misplaced := fieldsOf(t).types[name]; misplaced && !isSection && values[name] != nil {
			r.wrong(at, "is not below a name: write `%s`", join(append(below(path, "<name>"), name)))
			continue
		}
		r.value(at, t, values[name])
	}
	r.nulls = nulls
}

func (r *reader) list(path []string, t reflect.Type, value any) {
	switch values := value.(type) {
	case []any:
		for i, v := range values {
			r.item(below(path, strconv.Itoa(i)), plain(t), v)
		}
	case string:
		if t.Kind() != reflect.String || isTorn(strings.Split(values, ",")) {
			r.wrong(path, "%w", errNotList)
		}
	default:
		r.wrong(path, "%w", errNotList)
	}
}

// isTorn says whether splitting at commas, as confmap splits a text where a list belongs, has cut through an
// expression, or has left spaces in a name.
func isTorn(parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool {
		return strings.TrimSpace(part) != part || strings.Count(part, "(") != strings.Count(part, ")") || strings.Count(part, `"`)%2 == 1
	})
}

// item says how an item that is a section is written, where there is its first value alone.
func (r *reader) item(path []string, t reflect.Type, value any) {
	if text, ok := value.(string); ok && t.Kind() == reflect.Struct && !implements[encoding.TextUnmarshaler](t) {
		if keys := fieldsOf(t).keys; len(keys) > 0 {
			r.wrong(path, "is %q: must be a section: write `%s: %s`", text, keys[0], text)
			return
		}
	}
	r.value(path, t, value)
}

// word tries a text that stands for something.
func (r *reader) word(path []string, t reflect.Type, value any) {
	text, ok := value.(string)
	if !ok {
		if t.Kind() != reflect.String { // else see scalar
			r.wrong(path, "%w", errNotText)
		}
		return
	}
	if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		r.wrong(path, "is %q: %w", text, err)
	}
}

func (r *reader) scalar(path []string, t reflect.Type, value any) {
	switch kind := t.Kind(); {
	case kind == reflect.Bool:
		if _, ok := value.(bool); !ok {
			r.wrong(path, "is %v: %w", value, errNotBool)
		}
	case kind >= reflect.Int && kind <= reflect.Uint64:
		r.integer(path, t, value)
	case kind == reflect.Float32, kind == reflect.Float64:
		if _, ok := number(value); !ok {
			r.wrong(path, "is %v: must be a number%s", value, unquoted(value))
		}
	}
	// Text is for confmap to judge: of what comes from the environment it has the text, where this has what that is in
	// YAML.
}

// integer refuses what confmap would cut or wrap.
func (r *reader) integer(path []string, t reflect.Type, value any) {
	n, ok := number(value)
	switch {
	case !ok:
		r.wrong(path, "is %v: %w%s", value, errNotInteger, unquoted(value))
	case n != math.Trunc(n):
		r.wrong(path, "is %v: %w", value, errNotInteger)
	case n >= math.Ldexp(1, t.Bits()-1) || n < -math.Ldexp(1, t.Bits()-1):
		r.wrong(path, "is %v: %w", value, errTooLarge)
	}
}

// number returns a number as YAML yields it.
func number(value any) (n float64, ok bool) {
	v := reflect.ValueOf(value)
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

// unquoted says how a number is written that stands in quotes.
func unquoted(value any) string {
	if text, ok := value.(string); ok {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return fmt.Sprintf(": write %s, without quotes", text)
		}
	}
	return ""
}
