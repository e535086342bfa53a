// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package serieskey

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

var errNoText = errors.New("a value of an attribute has no text")

// TextOf returns the text of a value that OTTL yields, a Go value or one of pdata, with the bounds of Text: times as
// RFC 3339, bytes as base64, lists and maps as JSON, trace and span ids as hex. The error of one that has no text holds
// nothing of it.
func TextOf(v any, limit int) (text string, wasCut bool, err error) {
	switch v := v.(type) {
	case string:
		text, wasCut = Cut(v, limit)
		return text, wasCut, nil
	case pcommon.Value:
		text, wasCut = Text(v, limit)
		return text, wasCut, nil
	}
	w := newWriter(nil, limit)
	switch v := v.(type) {
	case float64:
		w.dst = appendShown(w.dst, v)
	case []byte:
		w.base64(len(v), func(i int) byte { return v[i] })
	case time.Time:
		w.dst = v.UTC().AppendFormat(w.dst, time.RFC3339Nano)
	case fmt.Stringer: // pcommon.TraceID, pcommon.SpanID, time.Duration
		w.dst = append(w.dst, v.String()...)
	default:
		w.any(v)
	}
	if w.err != nil {
		return "", false, fmt.Errorf("%w: it is a %T", errNoText, v)
	}
	text, wasCut = w.text()
	return text, wasCut, nil
}

// any writes a Go value as JSON.
func (w *writer) any(v any) {
	switch v := v.(type) {
	case string:
		w.string(v)
	case float64:
		w.double(v)
	case pcommon.Value:
		w.inner(v)
	case pcommon.Map:
		writeMap(w, v.Len(), v.All(), w.inner)
	case pcommon.Slice:
		writeList(w, v.All(), w.inner)
	case json.Marshaler, encoding.TextMarshaler: // a time, for example
		w.marshal(v)
	default:
		w.reflected(reflect.ValueOf(v))
	}
}

// reflected writes a list or map of any Go type, bytes, or a scalar. A nil list or map is null to JSON.
func (w *writer) reflected(v reflect.Value) {
	inner := func(v reflect.Value) { w.any(v.Interface()) }
	switch kind := v.Kind(); {
	case kind == reflect.Invalid:
		w.marshal(nil)
	case kind == reflect.Slice && !v.IsNil() && v.Type().Elem().Kind() == reflect.Uint8:
		w.bytes(v.Len(), func(i int) byte { return byte(v.Index(i).Uint()) })
	case kind == reflect.Slice && !v.IsNil(), kind == reflect.Array:
		writeList(w, elements(v), inner)
	case kind == reflect.Map && !v.IsNil() && v.Type().Key().Kind() == reflect.String:
		writeMap(w, v.Len(), members(v), inner)
	default:
		w.marshal(v.Interface())
	}
}

func elements(v reflect.Value) iter.Seq2[int, reflect.Value] {
	return func(yield func(int, reflect.Value) bool) {
		for i := range v.Len() {
			if !yield(i, v.Index(i)) {
				return
			}
		}
	}
}

func members(v reflect.Value) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		for name, value := range v.Seq2() {
			if !yield(name.String(), value) {
				return
			}
		}
	}
}

// marshal writes what is neither a list nor a map: its JSON is short.
func (w *writer) marshal(v any) {
	text, err := json.Marshal(v)
	w.dst, w.err = append(w.dst, text...), err
}
