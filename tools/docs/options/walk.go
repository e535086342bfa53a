// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Option is an option of a component, or a row of several that are described elsewhere.
type Option struct {
	// Path are the YAML keys from the component's section on; `<name>` stands for any name and `<n>` for an item of a
	// list. It is that of the section where the options are Elsewhere.
	Path []string

	Type    string
	Default string // as YAML, or in words; empty when nothing is set
	Valid   string // which values it takes; empty when its type says all
	Text    string // what it means

	// Elsewhere says which options these are, where another page or section describes them; else it is empty.
	Elsewhere string

	Kind reflect.Type // of the field, without pointers
}

// String returns the path as error messages have it.
func (o Option) String() string { return strings.Join(o.Path, "::") }

// walker collects the options of a configuration.
type walker struct {
	comments comments
	list     []Option
	err      error // the first one
}

func (w *walker) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// walk adds the options of a struct that has their defaults.
func (w *walker) walk(path []string, v reflect.Value) {
	for f, value := range v.Fields() {
		name, flags, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		switch described, isBorrowed := borrowed[f.Type]; {
		case !f.IsExported() || name == "-":
		case isBorrowed:
			w.borrow(path, name, described, v.Type(), f.Name, value)
		case flags == "squash":
			w.squash(path, v.Type(), f)
		case name != "":
			w.field(append(slices.Clip(path), name), v.Type(), f.Name, value)
		}
	}
}

// field adds an option, or those below it.
func (w *walker) field(path []string, owner reflect.Type, name string, v reflect.Value) {
	t := plain(v.Type())
	if t.Kind() == reflect.Struct && isOurs(t) {
		w.walk(path, v)
		return
	}
	c, err := w.comments.of(owner, name)
	if err != nil {
		w.fail(err)
		return
	}
	option := Option{Path: path, Type: typeName(t), Default: c.fallback, Valid: c.valid, Text: c.text, Kind: t}
	if option.Default == "" {
		option.Default = defaultOf(v)
	}
	w.list = append(w.list, option)
	if t.Kind() == reflect.Map && isOurs(t.Elem()) {
		w.walk(append(slices.Clip(path), "<name>"), reflect.New(t.Elem()).Elem())
	}
	if t.Kind() == reflect.Slice && isOurs(t.Elem()) {
		w.walk(append(slices.Clip(path), "<n>"), reflect.New(t.Elem()).Elem())
	}
}

// squash adds a row for a configuration of ours that is part of another one, whose component has all its options.
func (w *walker) squash(path []string, owner reflect.Type, f reflect.StructField) {
	c, err := w.comments.of(owner, f.Name)
	if err != nil {
		w.fail(err)
		return
	}
	w.list = append(w.list, Option{Path: path, Text: c.text, Elsewhere: "all options of the processor", Kind: f.Type})
}

// borrow adds the options of a part that belongs to the Collector: those that matter here, and a row for the others.
func (w *walker) borrow(path []string, name string, b borrowing, owner reflect.Type, field string, v reflect.Value) {
	if name != "" {
		path = append(slices.Clip(path), name)
	}
	for _, d := range b.described {
		at, found := below(v, d.name)
		if !found {
			w.fail(fmt.Errorf("%s has no option %s", b.name, d.name))
			return
		}
		w.list = append(w.list, Option{
			Path: append(slices.Clip(path), d.name), Type: typeName(at.Type()), Default: defaultOf(at), Valid: d.valid, Text: d.text, Kind: at.Type(),
		})
	}
	if !b.hasMore {
		return
	}
	c, err := w.comments.of(owner, field)
	if err != nil {
		w.fail(err)
		return
	}
	w.list = append(w.list, Option{Path: path, Text: c.text, Elsewhere: b.elsewhere(path), Kind: v.Type()})
}

// below returns the field of a struct that a YAML key sets.
func below(v reflect.Value, key string) (reflect.Value, bool) {
	for f, value := range v.Fields() {
		name, flags, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		if name == key {
			return value, true
		}
		if flags == "squash" {
			if found, ok := below(value, key); ok {
				return found, true
			}
		}
	}
	return reflect.Value{}, false
}

// plain returns the type behind pointers.
func plain(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// typeName returns the name of a type for people who write YAML.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[component.ID]():
		return "component ID"
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Slice:
		return "list of " + typeName(t.Elem()) + "s"
	case reflect.Map, reflect.Struct:
		return "section"
	}
	return "any"
}

// defaultOf returns the YAML of a default, or nothing.
func defaultOf(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return "`" + short(value) + "`"
	case []string:
		return "`[" + strings.Join(value, ", ") + "]`"
	case component.ID:
		return "required"
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64:
		return fmt.Sprintf("`%v`", v.Interface())
	case reflect.String:
		if v.String() != "" {
			return fmt.Sprintf("`%v`", v.Interface())
		}
	case reflect.Slice:
		return "`[]`"
	}
	return ""
}

// short returns a duration without the units that are 0.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
