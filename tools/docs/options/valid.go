// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Range is which numbers, or which nanoseconds, an option takes.
type Range struct {
	Zero        bool // 0 is valid besides
	Least, Most int64
}

// rangePattern is how a line "Valid: ..." begins for a number or a duration.
var rangePattern = regexp.MustCompile(`^(0, or )?([0-9][0-9,a-z]*) (?:or more|to ([0-9][0-9,a-z]*))(?:$|[,;:] )`)

// IsNumber says whether the option is a number or a duration, and so has a Range.
func (o Option) IsNumber() bool {
	return o.Kind != nil && (o.Kind.Kind() == reflect.Int || o.Kind.Kind() == reflect.Int64) && o.Elsewhere == ""
}

// Range returns what Valid says about a number or a duration.
func (o Option) Range() (Range, error) {
	m := rangePattern.FindStringSubmatch(o.Valid)
	if m == nil {
		return Range{}, fmt.Errorf("`%s` is valid where %q: must begin with \"N or more\", \"N to M\" or \"0, or N or more\"", o, o.Valid)
	}
	r := Range{Zero: m[1] != "", Most: math.MaxInt64}
	var err error
	if r.Least, err = o.parse(m[2]); err != nil || m[3] == "" {
		return r, err
	}
	r.Most, err = o.parse(m[3])
	return r, err
}

func (o Option) parse(text string) (int64, error) {
	if o.Kind == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		return int64(d), err
	}
	return strconv.ParseInt(strings.ReplaceAll(text, ",", ""), 10, 64)
}
