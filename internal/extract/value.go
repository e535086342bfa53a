package extract

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/identity"
)

// What is wrong with the result of an expression. None of the messages holds log content.
var (
	errNoText      = errors.New("a value of an attribute has no text")
	errNoAmount    = errors.New("there is no amount")
	errNotANumber  = errors.New("amount is not a number")
	errNegative    = errors.New("amount is negative")
	errNotIntegral = errors.New("amount is not integral")
	errTooLarge    = errors.New("amount exceeds the largest int64")
)

// appendResult appends what an expression yielded for an attribute in compact form; nil, which is no value, must not be
// asked for. Types that keys have no kind for become text.
func appendResult(dst []byte, result any, limit int) ([]byte, error) {
	switch v := result.(type) {
	case int64:
		return identity.AppendCompactValue(dst, identity.IntValue(v), limit), nil
	case float64:
		return identity.AppendCompactValue(dst, identity.DoubleValue(v), limit), nil
	case bool:
		return identity.AppendCompactValue(dst, identity.BoolValue(v), limit), nil
	case pcommon.Value:
		return identity.AppendCompact(dst, v, limit), nil
	}
	text, err := resultText(result)
	if err != nil {
		return dst, err
	}
	return identity.AppendCompactString(dst, text, limit), nil
}

// resultText returns what an expression yielded as text: times as RFC 3339, bytes as base64, lists and maps as JSON, trace and
// span ids as hex. nil, which is no value, must not be asked for.
func resultText(result any) (string, error) {
	value := pcommon.NewValueEmpty()
	switch v := result.(type) {
	case string:
		return v, nil
	case int64:
		value.SetInt(v)
		return value.AsString(), nil
	case float64:
		value.SetDouble(v)
		return value.AsString(), nil
	case bool:
		value.SetBool(v)
		return value.AsString(), nil
	case pcommon.Value:
		return v.AsString(), nil
	case pcommon.Map:
		v.CopyTo(value.SetEmptyMap())
		return value.AsString(), nil
	case pcommon.Slice:
		v.CopyTo(value.SetEmptySlice())
		return value.AsString(), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case fmt.Stringer: // pcommon.TraceID, pcommon.SpanID, time.Duration
		return v.String(), nil
	}
	text, err := json.Marshal(result) // bytes become base64
	if err != nil {
		return "", fmt.Errorf("%w: it is a %T", errNoText, result)
	}
	if _, isBytes := result.([]byte); isBytes {
		text = text[1 : len(text)-1]
	}
	return string(text), nil
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
		return amountOf(v.AsRaw())
	}
	return 0, fmt.Errorf("%w: it is a %T", errNotANumber, result)
}
