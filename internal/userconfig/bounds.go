// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var (
	errNotPositive = errors.New("must be positive")
	errNegative    = errors.New("must not be negative")
)

// Positive wants a number or a duration above 0.
func Positive[N ~int | ~int64](path string, found N) error {
	if found > 0 {
		return nil
	}
	return fmt.Errorf("`%s` is %v: %w", path, found, errNotPositive)
}

// NotNegative wants a number or a duration of 0 or more.
func NotNegative[N ~int | ~int64](path string, found N) error {
	if found >= 0 {
		return nil
	}
	return fmt.Errorf("`%s` is %v: %w", path, found, errNegative)
}

// UpTo wants a number from 1 to most, and says why not more.
func UpTo(path string, found, most int, why string) error {
	if found > most {
		return fmt.Errorf("`%s` is %d: must be at most %d: %s", path, found, most, why)
	}
	return Positive(path, found)
}

// LeastDuration is the shortest duration that makes sense in any configuration but 0, which means what its option says.
// What is shorter is a number that somebody has written without a unit.
const LeastDuration = time.Millisecond

// Duration wants a duration of at least LeastDuration, or 0. Whether it may be 0 or negative is for its option to say.
func Duration(path string, found time.Duration) error {
	if found <= 0 || found >= LeastDuration {
		return nil
	}
	return fmt.Errorf("`%s` is %v: must be at least %v; a number without a unit is nanoseconds: write \"%ds\"",
		path, found, LeastDuration, int64(found))
}

// Durations wants the same of every duration of a configuration, also in the parts that belong to the Collector.
func Durations(cfg any) error {
	var errs []error
	eachDuration(nil, reflect.ValueOf(cfg), func(path string, found time.Duration) {
		errs = append(errs, Duration(path, found))
	})
	return errors.Join(errs...)
}

// eachDuration calls yield for each duration in v, which may be of any type.
func eachDuration(path []string, v reflect.Value, yield func(path string, d time.Duration)) {
	if _, ok := optional(v.Type()); ok && v.CanAddr() {
		v = v.Addr().MethodByName("Get").Call(nil)[0]
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachDuration(path, v.Elem(), yield)
		}
	case reflect.Int64:
		if d, ok := v.Interface().(time.Duration); ok {
			yield(join(path), d)
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			if name, squashed, _ := tag(f); squashed {
				eachDuration(path, value, yield)
			} else if name != "" {
				eachDuration(below(path, name), value, yield)
			}
		}
	case reflect.Map:
		for name, value := range v.Seq2() {
			eachDuration(below(path, fmt.Sprint(name)), value, yield)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachDuration(below(path, strconv.Itoa(i)), v.Index(i), yield)
		}
	}
}

// duration refuses a number, unless it is 0, and says how a text is written that is no duration.
func (r *reader) duration(path []string, value any) {
	if _, ok := value.(time.Duration); ok {
		return
	}
	if text, ok := value.(string); ok {
		if _, err := time.ParseDuration(text); err != nil {
			r.wrong(path, "is %q: must be a number with a unit (ms, s, m, h), such as %q", text, orAny(withUnit(text)))
		}
		return
	}
	switch n, ok := number(value); {
	case !ok:
		r.wrong(path, "must be a duration, such as \"15s\"")
	case n != 0:
		r.wrong(path, "is %v: a number without a unit is nanoseconds: write %q", value, orAny(decimal(math.Abs(n))+"s"))
	}
}

// orAny returns the text of a positive duration, and for any other text that of some duration.
func orAny(text string) string {
	if d, err := time.ParseDuration(text); err != nil || d <= 0 {
		return "15s"
	}
	return text
}

// withUnit returns what a text that is no duration may mean, which may be none either.
func withUnit(text string) string {
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return ""
	}
	for _, u := range []struct {
		first, unit string
		times       float64
	}{{"mil", "ms", 1}, {"ms", "ms", 1}, {"m", "m", 1}, {"h", "h", 1}, {"d", "h", 24}, {"w", "h", 24 * 7}} {
		if strings.HasPrefix(text[len(digits):], u.first) {
			return decimal(n*u.times) + u.unit
		}
	}
	return digits + "s"
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
