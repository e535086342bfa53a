// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"strings"
)

// part is a place in a configuration of the Collector: the keys that lead there.
type part []string

// wrap returns the configuration that has a value there.
func (p part) wrap(value any) map[string]any {
	for _, key := range slices.Backward(p) {
		switch key {
		case "<name>":
			value = map[string]any{"name": value}
		case "<n>":
			item := map[string]any{"key": "name"} // no item can do without
			maps.Copy(item, asMap(value))
			value = []any{item}
		default:
			value = map[string]any{key: value}
		}
	}
	whole, _ := value.(map[string]any)
	return whole
}

// sections are the top keys of a configuration.
var sections = []string{"processors", "connectors", "receivers", "extensions", "exporters", "service"}

// elsewhere are top keys of YAML that is not for the Collector.
var elsewhere = []string{
	"apiVersion", "dist", "providers", "replaces", "scrape_configs", "remote_write", "otlp", "groups", "services", "global",
}

// isForOthers says whether YAML with these top keys is no part of a configuration: that of ocb, Prometheus, Kubernetes
// or Compose.
func isForOthers(value map[string]any) bool {
	for key, v := range value {
		if slices.Contains(elsewhere, key) {
			return true
		}
		if list, isList := v.([]any); isList && slices.Contains(sections, key) && key != "service" {
			module, _ := list[0].(map[string]any)
			return module["gomod"] != nil
		}
	}
	return false
}

// partsOf returns the places that YAML may be for, by its top keys; the most likely one first.
func (s *site) partsOf(value any, kinds kinds) (list []part) {
	switch v := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		if all(keys, func(key string) bool { return slices.Contains(sections, key) }) {
			return []part{{}}
		}
		for _, section := range sections {
			if all(keys, func(key string) bool { return kinds.has(section, key) }) {
				list = append(list, part{section})
			}
		}
		return append(list, s.bodies(keys, false)...)
	case []any:
		item, _ := v[0].(map[string]any)
		return s.bodies(slices.Sorted(maps.Keys(item)), true)
	}
	return nil
}

// bodies returns the sections of components, or the lists in them, that have all these options.
func (s *site) bodies(keys []string, isList bool) (list []part) {
	for _, c := range s.components {
		below := map[string][]string{} // the options of each section, by its path
		for _, o := range c.Options {
			for i, key := range o.Path {
				section := strings.Join(o.Path[:i], "::")
				below[section] = append(below[section], key)
			}
		}
		for _, section := range slices.Sorted(maps.Keys(below)) {
			if len(keys) == 0 || !all(keys, func(key string) bool { return slices.Contains(below[section], key) }) {
				continue
			}
			path := part{c.Section, c.ID}
			if section != "" {
				path = append(path, strings.Split(section, "::")...)
			}
			isItem := path[len(path)-1] == "<n>"
			if isItem && isList {
				path = path[:len(path)-1]
			}
			if isItem || !isList {
				list = append(list, path)
			}
		}
	}
	return list
}

func all(keys []string, is func(string) bool) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return !is(key) })
}
