// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// What is wrong with the result of an expression. None of the messages holds log content.
var (
	errNoAmount    = errors.New("sum has no value")
	errNotANumber  = errors.New("sum is not a number")
	errNegative    = errors.New("sum is negative")
	errNotIntegral = errors.New("sum is not an integer")
	errTooLarge    = errors.New("sum exceeds the largest int64")
)

// appendResult appends what an expression yielded for an attribute in compact form; nil, which is no value, must not be
// asked for. Types that keys have no kind for become text.
func appendResult(dst []byte, result any, limit int) ([]byte, error) {
	switch v := result.(type) {
	case int64:
		return serieskey.AppendCompactValue(dst, serieskey.IntValue(v), limit), nil
	case float64:
		return serieskey.AppendCompactValue(dst, serieskey.DoubleValue(v), limit), nil
	case bool:
		return serieskey.AppendCompactValue(dst, serieskey.BoolValue(v), limit), nil
	}
	text, wasCut, err := serieskey.TextOf(result, limit)
	if err != nil {
		return dst, err
	}
	return serieskey.AppendCompactCut(dst, text, wasCut), nil
}

// amountOf returns what an expression yielded as an amount: an int, or a double without a fraction, that is not
// negative.
func amountOf(result any) (int64, error) {
	switch v := result.(type) {
	case nil:
		return 0, errNoAmount
	case int64:
		if v < 0 {
			return 0, errNegative
		}
		return v, nil
	case float64:
		switch {
		case math.IsNaN(v):
			return 0, errNotANumber
		case v < 0:
			return 0, errNegative
		case v >= 1<<63: // and +Inf
			return 0, errTooLarge
		case v != math.Trunc(v):
			return 0, errNotIntegral
		}
		return int64(v), nil
	case pcommon.Value:
		return amountOfValue(v)
	}
	return 0, fmt.Errorf("%w: it is a %T", errNotANumber, result)
}

// amountOfValue is amountOf for a value of pdata; it does not look into a list or map.
func amountOfValue(v pcommon.Value) (int64, error) {
	switch v.Type() {
	case pcommon.ValueTypeEmpty:
		return 0, errNoAmount
	case pcommon.ValueTypeInt:
		return amountOf(v.Int())
	case pcommon.ValueTypeDouble:
		return amountOf(v.Double())
	}
	return 0, fmt.Errorf("%w: it is a %s", errNotANumber, strings.ToLower(v.Type().String()))
}
