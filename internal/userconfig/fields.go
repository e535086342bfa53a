// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig

import (
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

// fieldSet are the keys of a struct and the types of their values.
type fieldSet struct {
	keys  []string // in the order of the struct
	types map[string]reflect.Type
	open  bool // it takes any key
}

// fieldsOf returns the keys of a type; it has none if it is no struct.
func fieldsOf(t reflect.Type) fieldSet {
	set := fieldSet{types: map[string]reflect.Type{}}
	set.add(t)
	return set
}

func (s *fieldSet) add(t reflect.Type) {
	if t.Kind() != reflect.Struct {
		return
	}
	for f := range t.Fields() {
		name, squashed, remain := tag(f)
		switch {
		case squashed:
			s.add(plain(f.Type))
		case remain:
			s.open = true
		case name != "":
			s.keys = append(s.keys, name)
			s.types[name] = f.Type
		}
	}
}

// tag returns what the tag of a field says; a field that is not read has no name.
func tag(f reflect.StructField) (name string, squashed, remain bool) {
	parts := strings.Split(f.Tag.Get(confmap.MapstructureTag), ",")
	if !f.IsExported() || parts[0] == "-" {
		return "", false, false
	}
	return parts[0], slices.Contains(parts, "squash"), slices.Contains(parts, "remain")
}

// plain returns the type behind pointers and behind an optional section of the Collector's.
func plain(t reflect.Type) reflect.Type {
	for {
		switch inner, ok := optional(t); {
		case ok:
			t = inner
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		default:
			return t
		}
	}
}

// optional returns the type of what a configoptional.Optional may hold.
func optional(t reflect.Type) (reflect.Type, bool) {
	if t.PkgPath() != "go.opentelemetry.io/collector/config/configoptional" {
		return nil, false
	}
	get, ok := reflect.PointerTo(t).MethodByName("Get")
	if !ok {
		return nil, false
	}
	return get.Type.Out(0), true
}

func implements[I any](t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[I]())
}
