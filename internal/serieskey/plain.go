// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"strconv"
	"strings"
)

// Split cuts the text form of a key into the JSON texts of its metric, its resource and its attributes, which are parts
// of it. ok is false for what is no text of a key; of other than canonical text it may take what Decode refuses.
func Split(text string) (metric, resource, attributes string, ok bool) {
	ignore := func(bool, string, string) {}
	rest, ok := strings.CutPrefix(text, "[")
	if !ok {
		return "", "", "", false
	}
	if metric, rest, ok = cutString(rest); !ok {
		return "", "", "", false
	}
	if resource, ok = strings.CutPrefix(rest, ","); !ok || !strings.HasPrefix(resource, "{") {
		return "", "", "", false
	}
	if rest, ok = cutMembers(resource[1:], true, ignore); !ok {
		return "", "", "", false
	}
	resource = resource[:len(resource)-len(rest)]
	if attributes, ok = strings.CutPrefix(rest, ","); !ok || !strings.HasPrefix(attributes, "{") {
		return "", "", "", false
	}
	rest, ok = cutMembers(attributes[1:], false, ignore)
	return metric, resource, attributes[:len(attributes)-len(rest)], ok && rest == "]"
}

// Object appends the attributes of a JSON object, as Split returns it, to list. Their strings are parts of text where
// they can be.
func Object(list []Attribute, text string) (_ []Attribute, ok bool) {
	return object(list, text, ParseValue)
}

// object is Object; escaped reads the values that plainValue does not.
func object(list []Attribute, text string, escaped func(string) (Value, error)) (_ []Attribute, ok bool) {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return list, false
	}
	read := func(text string) Value {
		v, plain := plainValue(text)
		if !plain {
			var err error
			v, err = escaped(text)
			ok = ok && err == nil
		}
		return v
	}
	rest, whole := cutMembers(rest, false, func(_ bool, name, value string) {
		list = append(list, Attribute{read(name).str, read(value)})
	})
	return list, ok && whole && rest == ""
}

// plainValue reads a value of canonical text without escapes.
func plainValue(text string) (_ Value, ok bool) {
	switch {
	case strings.HasPrefix(text, `"`):
		return StringValue(text[1 : len(text)-1]), strings.IndexByte(text, '\\') < 0
	case text == "true", text == "false":
		return BoolValue(text == "true"), true
	case isDouble(text):
		f, err := strconv.ParseFloat(text, 64)
		return DoubleValue(f), err == nil
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		return IntValue(n), err == nil
	}
}

// decodePlain is Decode in a small part of its time, for text without escapes. ok is false for what it leaves to
// Decode.
func decodePlain(text string) (k Key, ok bool) {
	metric, resource, attributes, ok := Split(text)
	if !ok || strings.IndexByte(text, '\\') >= 0 {
		return Key{}, false
	}
	refuse := func(string) (Value, error) { return Value{}, errNotCanonical }
	k.Metric = metric[1 : len(metric)-1]
	var first, second bool
	k.Resource, first = object(nil, resource, refuse)
	k.Attributes, second = object(nil, attributes, refuse)
	return k, first && second && ascends(k.Resource) && ascends(k.Attributes) && k.isWrittenAs(text)
}

// ascends says whether a list is sorted by name and holds no name twice.
func ascends(list []Attribute) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1].Name >= list[i].Name {
			return false
		}
	}
	return true
}
