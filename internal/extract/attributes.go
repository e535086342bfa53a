// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"cmp"
	"context"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// appendValues appends the values of a metric's attributes in compact form, and says whether none is missing. Of a
// metric with globs it appends names as well.
func (x *Extractor) appendValues(
	ctx context.Context, b *Batch, dst []byte, m *metric, r *recordContext,
) (_ []byte, found bool, err error) {
	if len(m.globs) > 0 {
		return x.appendNamed(ctx, b, dst, m, r)
	}
	for i := range m.attributes {
		if dst, found, err = x.appendValue(ctx, b, dst, m, i, r); !found {
			return dst, false, err
		}
	}
	return dst, true, nil
}

// appendValue appends the value of attribute i, or what stands for it when there is none.
func (x *Extractor) appendValue(
	ctx context.Context, b *Batch, dst []byte, m *metric, i int, r *recordContext,
) (_ []byte, found bool, err error) {
	a := &m.attributes[i]
	if a.expression == nil {
		value, found := r.record.Attributes().Get(a.key)
		if !found {
			value, found = r.sl.Scope().Attributes().Get(a.key)
		}
		if !found {
			value, found = r.rl.Resource().Attributes().Get(a.key)
		}
		if found {
			return x.appendFound(b, dst, value, a.hash), true, nil
		}
	} else {
		result, evalErr := r.value(ctx, a.expression)
		if evalErr == nil && result != nil {
			dst, evalErr = x.appendYielded(b, dst, result, a.hash)
			if evalErr == nil {
				return dst, true, nil
			}
		}
		err = evalErr
	}
	b.absences[m.absences+i]++
	if a.fallback == nil {
		if err != nil {
			b.failures[m.absences+i]++
		}
		return dst, false, err
	}
	return append(dst, a.fallback...), true, nil
}

// appendFound appends a value that was looked up.
func (x *Extractor) appendFound(b *Batch, dst []byte, value pcommon.Value, hashed bool) []byte {
	if !hashed {
		return serieskey.AppendCompact(dst, value, x.settings.ValueLengthLimit)
	}
	if value.Type() == pcommon.ValueTypeStr {
		return b.lanes.hasher.append(dst, value.Str(), false)
	}
	text, wasCut := serieskey.Text(value, x.settings.ValueLengthLimit)
	return b.lanes.hasher.append(dst, text, wasCut)
}

// appendYielded appends what an expression yielded.
func (x *Extractor) appendYielded(b *Batch, dst []byte, result any, hashed bool) ([]byte, error) {
	switch v := result.(type) {
	case pcommon.Value:
		return x.appendFound(b, dst, v, hashed), nil
	case string:
		if hashed {
			return b.lanes.hasher.append(dst, v, false), nil
		}
	}
	if !hashed {
		return appendResult(dst, result, x.settings.ValueLengthLimit)
	}
	text, wasCut, err := serieskey.TextOf(result, x.settings.ValueLengthLimit)
	if err != nil {
		return dst, err
	}
	return b.lanes.hasher.append(dst, text, wasCut), nil
}

// namedValue is an attribute of a metric with globs: its name and where its value is in Batch.values.
type namedValue struct {
	name       string
	start, end int
	keep       bool
}

// appendNamed appends the attributes of a metric with globs by name, each after a byte that says whether overflow keeps
// it. What an attribute of the configuration is called no glob finds, nor what marks an overflow key.
func (x *Extractor) appendNamed(
	ctx context.Context, b *Batch, dst []byte, m *metric, r *recordContext,
) (_ []byte, found bool, err error) {
	limit := x.settings.ValueLengthLimit
	b.named, b.values = b.named[:0], b.values[:0]
	defer func() { clear(b.named[:cap(b.named)]) }() // keeps nothing of the logs
	for i := range m.attributes {
		a := &m.attributes[i]
		start := len(b.values)
		if b.values, found, err = x.appendValue(ctx, b, b.values, m, i, r); !found {
			return dst, false, err
		}
		if !serieskey.NextIsAbsent(b.values[start:]) {
			b.named = append(b.named, namedValue{a.key, start, len(b.values), a.keep})
		}
	}
	for name, value := range r.record.Attributes().All() {
		g := slices.IndexFunc(m.globs, func(a attribute) bool { return a.glob.match(name) })
		if g < 0 {
			continue
		}
		name = serieskey.CleanName(name, limit)
		if name == serieskey.OverflowAttribute || slices.ContainsFunc(m.attributes, func(a attribute) bool { return a.key == name }) {
			continue
		}
		start := len(b.values)
		b.values = x.appendFound(b, b.values, value, m.globs[g].hash)
		b.named = append(b.named, namedValue{name, start, len(b.values), m.globs[g].keep})
	}
	slices.SortStableFunc(b.named, func(a, b namedValue) int { return cmp.Compare(a.name, b.name) })
	for i, n := range b.named {
		if i > 0 && b.named[i-1].name == n.name {
			continue // the first of a name counts, as in a look-up
		}
		dst = append(dst, keepByte(n.keep))
		dst = serieskey.AppendCompactString(dst, n.name, 0)
		dst = append(dst, b.values[n.start:n.end]...)
	}
	return dst, true, nil
}

// resourceAttribute is an attribute of the resource at hand.
type resourceAttribute struct {
	name  string
	value pcommon.Value
}

// selectResource appends the attributes that tell resources apart, sorted by name and without a name twice.
func (x *Extractor) selectResource(dst []resourceAttribute, attributes pcommon.Map) []resourceAttribute {
	for _, name := range x.resourceNames {
		if value, found := attributes.Get(name); found {
			dst = append(dst, resourceAttribute{name, value})
		}
	}
	if x.resourceNames != nil && len(x.resourceGlobs) == 0 {
		return dst
	}
	for name, value := range attributes.All() {
		if x.resourceNames == nil || x.matchesResource(name) {
			dst = append(dst, resourceAttribute{serieskey.CleanName(name, x.settings.ValueLengthLimit), value})
		}
	}
	slices.SortStableFunc(dst, func(a, b resourceAttribute) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(dst, func(a, b resourceAttribute) bool { return a.name == b.name })
}

// matchesResource says whether a glob matches a name that is not listed by itself.
func (x *Extractor) matchesResource(name string) bool {
	_, listed := slices.BinarySearch(x.resourceNames, name)
	return !listed && slices.ContainsFunc(x.resourceGlobs, func(g *glob) bool { return g.match(name) })
}
