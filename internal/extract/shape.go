// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// OnlyKey returns the key of a metric that has but one, whatever the records are; empty for others.
func (x *Extractor) OnlyKey(metric int) string {
	m := &x.metrics[metric]
	if len(m.attributes)+len(m.globs) > 0 || x.resourceNames == nil || len(x.resourceNames)+len(x.resourceGlobs) > 0 {
		return ""
	}
	key := string(m.keyStart) + `{},{}]`
	if limit := x.settings.KeyLengthLimit; limit > 0 && len(key) > limit {
		return ""
	}
	return key
}

// CanHave says whether records may have a key of a metric, by the names of its attributes, and whether it is an
// overflow key. Another configuration counts by other names.
func (x *Extractor) CanHave(metric int, key string) (possible, overflow bool) {
	m := &x.metrics[metric]
	possible = true
	needed, kept := m.needed(), true
	ok := serieskey.Members(key, func(resource bool, name, value string) {
		switch {
		case resource:
			possible = possible && x.keepsResource(name)
		case name+":"+value == overflowMember:
			overflow = true
		default:
			a := m.attribute(name)
			possible = possible && a != nil
			kept = kept && a != nil && a.keep
			if a != nil && a.isNeeded() {
				needed--
			}
		}
	})
	if overflow {
		return ok && possible && kept, true
	}
	return ok && possible && needed == 0, false
}

// Shape returns a text that two metrics have in common only if CanHave says the same of every key that begins with
// their name.
func (x *Extractor) Shape(metric int) string {
	all := x.settings.ResourceAttributes == nil
	shape := fmt.Sprintf("%t %q", all, slices.Sorted(slices.Values(x.settings.ResourceAttributes)))
	m := &x.metrics[metric]
	for _, a := range m.attributes {
		shape += fmt.Sprintf(" %q %t %t", a.key, a.isNeeded(), a.keep)
	}
	for _, a := range m.globs {
		shape += fmt.Sprintf(" * %q %t", append([]string{a.glob.first, a.glob.last}, a.glob.middle...), a.keep)
	}
	return shape
}

// isNeeded says whether each key of the metric has the attribute.
func (a *attribute) isNeeded() bool {
	return a.glob == nil && (a.fallback == nil || !serieskey.NextIsAbsent(a.fallback))
}

func (m *metric) needed() (n int) {
	for i := range m.attributes {
		if m.attributes[i].isNeeded() {
			n++
		}
	}
	return n
}

// attribute returns the attribute of a name, which is JSON text; nil if there is none.
func (m *metric) attribute(name string) *attribute {
	for i := range m.attributes {
		if member := m.attributes[i].memberName; string(bytes.TrimSuffix(member, []byte{':'})) == name {
			return &m.attributes[i]
		}
	}
	if len(m.globs) == 0 {
		return nil
	}
	text := serieskey.Shown(name)
	for i := range m.globs {
		if m.globs[i].glob.match(text) {
			return &m.globs[i]
		}
	}
	return nil
}

// keepsResource says whether a resource attribute, whose name is JSON text, tells totals apart.
func (x *Extractor) keepsResource(name string) bool {
	if x.resourceNames == nil {
		return true
	}
	text := serieskey.Shown(name)
	return slices.Contains(x.resourceNames, text) || x.matchesResource(text)
}
