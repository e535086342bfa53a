// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Condition is a parsed OTTL condition on a log record.
type Condition struct {
	ottl *ottl.Condition[*ottllog.TransformContext]

	// plain is the same condition, where it is plain enough to be evaluated without OTTL: that takes a tenth of the
	// time and never fails. A fuzz test holds it against OTTL.
	plain *comparison
}

// comparison compares one thing of a record with a literal: the plainest of conditions, and the most frequent.
type comparison struct {
	subject  subject
	key      string // of an attribute
	operator operator
	kind     literalKind
	text     string
	number   int64
	truth    bool
}

type subject int

const (
	severityNumber subject = iota
	severityText
	recordAttribute
	resourceAttributeOf
)

type literalKind int

const (
	nilLiteral literalKind = iota
	stringLiteral
	intLiteral
	boolLiteral
)

// operator says which outcomes of a comparison meet a condition.
type operator struct {
	less, equal, greater bool
	unlike               bool // also what cannot be compared at all
}

var operators = map[string]operator{
	"==": {equal: true},
	"!=": {less: true, greater: true, unlike: true},
	"<":  {less: true},
	"<=": {less: true, equal: true},
	">":  {greater: true},
	">=": {greater: true, equal: true},
}

// The texts that are taken for a comparison. Whatever does not look exactly like this is left to OTTL, an escaped quote
// for example.
var (
	comparisonText = regexp.MustCompile(
		`^\s*(?:log\.)?(severity_number|severity_text|attributes\["[^"\\]*"\]|resource\.attributes\["[^"\\]*"\])` +
			`\s*(==|!=|<=|>=|<|>)\s*(nil|true|false|[0-9]{1,18}|"[^"\\]*"|SEVERITY_NUMBER_[A-Z0-9]+)\s*$`)
	severityNames = func() map[string]int64 {
		names := map[string]int64{}
		for n := plog.SeverityNumberUnspecified; n <= plog.SeverityNumberFatal4; n++ {
			names["SEVERITY_NUMBER_"+strings.ToUpper(n.String())] = int64(n)
		}
		return names
	}()
)

// parseComparison returns the comparison of a text that OTTL has parsed; nil if that is something else.
func parseComparison(text string) *comparison {
	parts := comparisonText.FindStringSubmatch(text)
	if parts == nil || !utf8.ValidString(text) { // OTTL replaces what is not valid
		return nil
	}
	c := &comparison{operator: operators[parts[2]]}
	switch path, key, _ := strings.Cut(parts[1], `["`); path {
	case "severity_number":
		c.subject = severityNumber
	case "severity_text":
		c.subject = severityText
	case "attributes":
		c.subject, c.key = recordAttribute, strings.TrimSuffix(key, `"]`)
	case "resource.attributes":
		c.subject, c.key = resourceAttributeOf, strings.TrimSuffix(key, `"]`)
	}
	if !c.literal(parts[3]) || !c.isSupported(parts[2]) {
		return nil
	}
	return c
}

func (c *comparison) literal(text string) (ok bool) {
	switch {
	case text == "nil":
		c.kind = nilLiteral
	case text == "true" || text == "false":
		c.kind, c.truth = boolLiteral, text == "true"
	case text[0] == '"':
		c.kind, c.text = stringLiteral, text[1:len(text)-1]
	case text[0] == 'S':
		c.kind = intLiteral
		c.number, ok = severityNames[text]
		return ok
	default:
		var err error
		c.kind = intLiteral
		c.number, err = strconv.ParseInt(text, 10, 64)
		return err == nil
	}
	return true
}

// isSupported leaves to OTTL what is odd: to order by truth or by nothing.
func (c *comparison) isSupported(operator string) bool {
	ordered := operator != "==" && operator != "!="
	switch c.subject {
	case severityNumber:
		return c.kind == intLiteral
	case severityText:
		return c.kind == stringLiteral
	default:
		return !ordered || c.kind == intLiteral || c.kind == stringLiteral
	}
}

// met says whether a record of a resource meets the comparison.
func (c *comparison) met(resource pcommon.Resource, record plog.LogRecord) bool {
	switch c.subject {
	case severityNumber:
		return c.meetsNumber(int64(record.SeverityNumber()))
	case severityText:
		return c.operator.holds(strings.Compare(record.SeverityText(), c.text))
	case recordAttribute:
		return c.metBy(record.Attributes().Get(c.key))
	default:
		return c.metBy(resource.Attributes().Get(c.key))
	}
}

func (c *comparison) meetsNumber(n int64) bool { return c.operator.holds(cmp.Compare(n, c.number)) }

func (c *comparison) metBy(v pcommon.Value, found bool) bool {
	kind := pcommon.ValueTypeEmpty
	if found {
		kind = v.Type()
	}
	if kind == pcommon.ValueTypeBytes && v.Bytes().Len() == 0 {
		kind = pcommon.ValueTypeEmpty // to OTTL that is nil
	}
	switch {
	case kind == pcommon.ValueTypeEmpty && c.kind == nilLiteral:
		return c.operator.equal
	case kind == pcommon.ValueTypeStr && c.kind == stringLiteral:
		return c.operator.holds(strings.Compare(v.Str(), c.text))
	case kind == pcommon.ValueTypeInt && c.kind == intLiteral:
		return c.operator.holds(cmp.Compare(v.Int(), c.number))
	case kind == pcommon.ValueTypeDouble && c.kind == intLiteral:
		return c.operator.holdsFor(v.Double(), float64(c.number))
	case kind == pcommon.ValueTypeBool && c.kind == boolLiteral:
		return (v.Bool() == c.truth) == c.operator.equal
	}
	return c.operator.unlike
}

// holds says whether an outcome, as of cmp.Compare, meets the operator.
func (o operator) holds(outcome int) bool {
	return outcome < 0 && o.less || outcome == 0 && o.equal || outcome > 0 && o.greater
}

// holdsFor is holds for doubles, of which one may be NaN: that is not equal to anything, and neither less nor greater.
func (o operator) holdsFor(a, b float64) bool {
	return a < b && o.less || a == b && o.equal || a > b && o.greater || a != a && o.unlike
}
