// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// counted are the sections of a `count` connector's configuration that are not about logs.
var counted = map[string]bool{"spans": true, "spanevents": true, "metrics": true, "datapoints": true, "profiles": true}

// renamed are options of other components that count, or of earlier versions of these, by what they are called here.
var renamed = map[string]struct{ option, text string }{
	// the sum connector
	"source_attribute": {"sum", "`sum`, with an OTTL expression such as Int(attributes[\"price\"])"},
	"value":            {"sum", "`sum`, which is what the metric sums"},
	"on_overflow":      {"on_full", "`on_full`"},
}

// Fixed are options that a component had once, at its top level, and the values that hold in their place; nil = none
// does.
type Fixed map[string]any

// noOption says what has become of an option; nil = there never was one of that name.
func (f Fixed) noOption(key string) error {
	switch value, ok := f[match(slices.Collect(maps.Keys(f)), key)]; {
	case !ok:
		return nil
	case value == nil:
		return fmt.Errorf("`%s` was removed: delete it", key)
	default:
		return fmt.Errorf("`%s` is fixed at %v now: delete it", key, value)
	}
}

// unknown says what may be meant by a key that a section does not have.
func (r *reader) unknown(path []string, key string, section reflect.Type) error {
	where := join(below(path, key))
	if len(path) == 0 && counted[key] {
		return fmt.Errorf("`%s` is unknown: tally counts logs only; keep a `count` connector for `%s` beside it", where, key)
	}
	for _, fixed := range r.fixed {
		if err := fixed.noOption(key); err != nil && len(path) == 0 {
			return err
		}
	}
	keys := fieldsOf(section).keys
	if here, ok := renamed[key]; ok && slices.Contains(keys, here.option) {
		return fmt.Errorf("`%s` is unknown: write %s", where, here.text)
	}
	meant := cmp.Or(match(keys, key), r.elsewhere(key, same), Closest(key, keys...), r.elsewhere(key, alike))
	if meant == "" && len(path) > 1 {
		return fmt.Errorf("`%s` is unknown: valid keys are %s; a name cannot have `::` in it, nor dots if it is set by --set", where, keyList(section))
	}
	if meant == "" {
		return fmt.Errorf("`%s` is unknown: valid keys are %s", where, keyList(section))
	}
	if meant == key {
		return fmt.Errorf("`%s` is unknown: did you mean `%s` at the top level?", where, meant)
	}
	return fmt.Errorf("`%s` is unknown: did you mean `%s`?", where, meant)
}

// elsewhere returns the path of the first key of the configuration that fits; empty = there is none.
func (r *reader) elsewhere(key string, fits func(a, b string) bool) string {
	for _, place := range places(nil, r.root) {
		if fits(key, place[len(place)-1]) {
			return join(place)
		}
	}
	return ""
}

func match(keys []string, key string) string {
	if i := slices.IndexFunc(keys, func(k string) bool { return same(key, k) }); i >= 0 {
		return keys[i]
	}
	return ""
}

func same(a, b string) bool { return bare(a) == bare(b) }

func alike(a, b string) bool { return Closest(a, b) != "" }

func keyList(section reflect.Type) string {
	return "`" + strings.Join(fieldsOf(section).keys, "`, `") + "`"
}

// places returns the paths of all keys of a type; a name that is the user's is `<name>`, the place in a list `<n>`.
func places(path []string, t reflect.Type) (list [][]string) {
	fields := fieldsOf(t)
	for _, key := range fields.keys {
		list = append(list, below(path, key))
	}
	for _, key := range fields.keys {
		at, inner := below(path, key), plain(fields.types[key])
		switch inner.Kind() {
		case reflect.Map:
			at, inner = below(at, "<name>"), plain(inner.Elem())
		case reflect.Slice:
			at, inner = below(at, "<n>"), plain(inner.Elem())
		}
		list = append(list, places(at, inner)...)
	}
	return list
}

// Closest returns which of some words is meant by one that is misspelled; empty = none of them.
func Closest(word string, words ...string) string {
	best, least := "", len(word)
	for _, w := range words {
		a, b := bare(word), bare(w)
		d := distance(a, b)
		if d > allowed(a, b) {
			if !isPart(word, w) {
				continue
			}
			d = len(w) // rather one that is misspelled
		}
		if best == "" || d < least {
			best, least = w, d
		}
	}
	return best
}

// allowed is how many changes make a misspelled word of one: a third of the letters, as in spell checkers of compilers.
func allowed(a, b string) int { return max(len(a), len(b)) / 3 }

// isPart says whether one of two keys is the other without some of its words.
func isPart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) > 2 && strings.Contains("_"+b+"_", "_"+a+"_")
}

// bare returns a key without what people write in other ways: capitals, hyphens, underscores.
func bare(key string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(key))
}

// distance returns how many bytes must be put in, taken out or changed to make a of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
