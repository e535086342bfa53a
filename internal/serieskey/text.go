// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errNotKey       = errors.New("key is not an array of a metric name and two objects")
	errNotCanonical = errors.New("key is not in its canonical form")
	errValueType    = errors.New("key holds a value that is no string, number or bool")
)

// AppendText appends the text form of k to dst:
//
//	["log.record.count",{"service.name":"checkout"},{"env":"prod","http.response.status_code":200}]
//
// It does not sort: k must be canonical for the text to be.
func (k Key) AppendText(dst []byte) []byte {
	dst = AppendMetric(dst, k.Metric)
	dst = append(dst, ',')
	dst = appendObject(dst, k.Resource)
	dst = append(dst, ',')
	dst = appendObject(dst, k.Attributes)
	return append(dst, ']')
}

// AppendMetric appends the start of a key: the bracket and the metric's name.
func AppendMetric(dst []byte, metric string) []byte {
	return AppendString(append(dst, '['), metric)
}

func appendObject(dst []byte, attributes []Attribute) []byte {
	dst = append(dst, '{')
	for i, a := range attributes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, a.Name)
		dst = append(dst, ':')
		dst = AppendValue(dst, a.Value)
	}
	return append(dst, '}')
}

// AppendValue appends the JSON text of v: an Int as an integer, a Double always with a point or an exponent.
func AppendValue(dst []byte, v Value) []byte {
	switch v.kind {
	case Int:
		return strconv.AppendInt(dst, v.Int(), 10)
	case Double:
		return appendDouble(dst, v.Double())
	case Bool:
		return strconv.AppendBool(dst, v.Bool())
	default:
		return AppendString(dst, v.str)
	}
}

// appendDouble writes the shortest text that reads back as f, and a point where that text would read as an integer.
func appendDouble(dst []byte, f float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	if bytes.ContainsAny(dst[start:], ".e") {
		return dst
	}
	return append(dst, '.', '0')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. It escapes what RFC 8785 (JSON Canonicalization Scheme, section 3.2.2.2)
// escapes, in the same way, and besides that DEL, the C1 controls and the line separators U+2028 and U+2029, so that
// a key is one printable line on any terminal. Each byte that is not part of valid UTF-8 becomes U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	clean := 0 // s[clean:i] needs no escape
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			dst = append(dst, s[clean:i]...)
			dst = appendASCIIEscape(dst, c)
			i++
			clean = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[clean:i]...)
			dst = utf8.AppendRune(dst, utf8.RuneError)
		case r < 0xa0, r == '\u2028', r == '\u2029':
			dst = append(dst, s[clean:i]...)
			dst = appendUnicodeEscape(dst, r)
		default:
			i += size
			continue
		}
		i += size
		clean = i
	}
	dst = append(dst, s[clean:]...)
	return append(dst, '"')
}

func appendASCIIEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	return appendUnicodeEscape(dst, rune(c))
}

func appendUnicodeEscape(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
}

// Decode reads a text form back. It takes canonical text only, so that no two texts decode to one key: whatever
// AppendText did not write is an error.
func Decode(text string) (Key, error) {
	if k, ok := decodePlain(text); ok {
		return k, nil
	}
	return decodeSlowly(text)
}

func decodeSlowly(text string) (Key, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	k, err := decodeKey(d)
	if err != nil {
		return Key{}, err
	}
	if !k.isWrittenAs(text) || !ascends(k.Resource) || !ascends(k.Attributes) {
		return Key{}, errNotCanonical
	}
	return k, nil
}

// MetricOf returns the metric of a text form, at a fraction of what Decode costs, which alone sees whether the rest of
// the text is canonical. ok is false for a text that does not begin as a key does.
func MetricOf(text string) (metric string, ok bool) {
	rest, ok := strings.CutPrefix(text, `["`)
	if !ok {
		return "", false
	}
	end := strings.IndexAny(rest, `"\`)
	if end >= 0 && rest[end] == '"' {
		return rest[:end], strings.HasPrefix(rest[end:], `",{`)
	}
	k, err := Decode(text)
	return k.Metric, err == nil
}

func decodeKey(d *json.Decoder) (k Key, err error) {
	if err := expectDelim(d, '['); err != nil {
		return k, err
	}
	t, err := d.Token()
	if err != nil {
		return k, fmt.Errorf("decode key: %w", err)
	}
	metric, ok := t.(string)
	if !ok {
		return k, errNotKey
	}
	k.Metric = metric
	if k.Resource, err = decodeObject(d); err != nil {
		return k, err
	}
	if k.Attributes, err = decodeObject(d); err != nil {
		return k, err
	}
	if err := expectDelim(d, ']'); err != nil {
		return k, err
	}
	if _, err := d.Token(); err != io.EOF {
		return k, errNotKey
	}
	return k, nil
}

func expectDelim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	if t != want {
		return errNotKey
	}
	return nil
}

func decodeObject(d *json.Decoder) ([]Attribute, error) {
	if err := expectDelim(d, '{'); err != nil {
		return nil, err
	}
	var list []Attribute
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("decode key: %w", err)
		}
		value, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("decode key: %w", err)
		}
		a := Attribute{Name: name.(string)} // encoding/json takes no other token for the name of a member
		switch v := value.(type) {
		case string:
			a.Value = StringValue(v)
		case bool:
			a.Value = BoolValue(v)
		case json.Number:
			if a.Value, err = decodeNumber(v.String()); err != nil {
				return nil, fmt.Errorf("decode key: %w", err)
			}
		default:
			return nil, errValueType
		}
		list = append(list, a)
	}
	return list, expectDelim(d, '}')
}

func decodeNumber(text string) (Value, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return IntValue(n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, err
	}
	return DoubleValue(f), nil
}
