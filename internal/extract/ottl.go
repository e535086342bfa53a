// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// Expression is a parsed OTTL value expression on a log record.
type Expression = *ottl.ValueExpression[*ottllog.TransformContext]

// Parser parses OTTL. Make one with NewParser.
type Parser struct {
	collection *ottl.ParserCollection[parsed]
}

// parsed is what one call of a collection yields: one of both.
type parsed struct {
	conditions  []*ottl.Condition[*ottllog.TransformContext]
	expressions []Expression
}

// NewParser returns a parser for OTTL on log records, with its standard converters. The paths may name their context
// (`log.attributes["a"]`) or not (`attributes["a"]`), as in the count connector.
func NewParser(settings component.TelemetrySettings) (*Parser, error) {
	parser, err := ottllog.NewParser(
		converters(), settings, ottllog.EnablePathContextNames(),
	)
	if err != nil {
		return nil, err
	}
	collection, err := ottl.NewParserCollection(settings, ottl.WithParserCollectionContext(
		ottllog.ContextName, &parser,
		ottl.WithConditionConverter(
			func(_ *ottl.ParserCollection[parsed], _ ottl.ConditionsGetter, list []*ottl.Condition[*ottllog.TransformContext]) (parsed, error) {
				return parsed{conditions: list}, nil
			}),
		ottl.WithValueExpressionConverter(
			func(_ *ottl.ParserCollection[parsed], _ ottl.ValueExpressionsGetter, list []Expression) (parsed, error) {
				return parsed{expressions: list}, nil
			}),
	))
	if err != nil {
		return nil, err
	}
	return &Parser{collection: collection}, nil
}

const addMissingContext = true

// FieldCalled returns how OTTL gets the field of the record that is called key: as text where it has such a way, or
// else as it is; empty = there is no such field.
func (p *Parser) FieldCalled(key string) string {
	if slices.Contains([]string{"true", "false", "nil"}, key) || key == "" || key[0] < 'a' || key[0] > 'z' {
		return "" // a literal, or an attribute's name for sure
	}
	for _, path := range []string{key + ".string", key} {
		if _, err := p.Expression(path); err == nil {
			return path
		}
	}
	return ""
}

// Condition parses a condition. The error of one that does not parse says where.
func (p *Parser) Condition(text string) (Condition, error) {
	list, err := p.collection.ParseConditionsWithContext(
		ottllog.ContextName, ottl.NewConditionsGetter([]string{text}), addMissingContext,
	)
	if err != nil {
		return Condition{}, err
	}
	return Condition{ottl: list.conditions[0], plain: parseComparison(text)}, nil
}

// Expression parses a value expression. The error of one that does not parse says where.
func (p *Parser) Expression(text string) (Expression, error) {
	list, err := p.collection.ParseValueExpressionsWithContext(
		ottllog.ContextName, ottl.NewValueExpressionsGetter([]string{text}), addMissingContext,
	)
	if err != nil {
		return nil, err
	}
	return list.expressions[0], nil
}

// ErrPanicked is the error of a condition or expression that panicked on a record.
var ErrPanicked = errors.New("OTTL panicked")

// ErrTooDeep is the error of a condition or expression on a record that has a value, or whose scope or resource has
// one, that is nested too deep for OTTL: it follows all of a value by recursion, and a stack overflow ends the process.
var ErrTooDeep = fmt.Errorf("lists or maps are nested more than %d levels deep", serieskey.MaxDepth)

// recordContext is one record with what it stands in. The OTTL context is made when first it is needed.
type recordContext struct {
	rl      plog.ResourceLogs
	sl      plog.ScopeLogs
	record  plog.LogRecord
	tooDeep bool // for OTTL: known of resource and scope, and of the record once it was looked at
	ottl    *ottllog.TransformContext
}

func (c *recordContext) transformContext() (*ottllog.TransformContext, error) {
	if c.ottl != nil {
		return c.ottl, nil
	}
	c.tooDeep = c.tooDeep || serieskey.IsTooDeep(c.record.Body()) || anyTooDeep(c.record.Attributes())
	if c.tooDeep {
		return nil, ErrTooDeep
	}
	c.ottl = ottllog.NewTransformContext(c.rl, c.sl, c.record)
	return c.ottl, nil
}

// anyTooDeep says whether a value is nested too deep for OTTL.
func anyTooDeep(attributes pcommon.Map) bool {
	for _, v := range attributes.All() {
		// few are
		if t := v.Type(); (t == pcommon.ValueTypeMap || t == pcommon.ValueTypeSlice) && serieskey.IsTooDeep(v) {
			return true
		}
	}
	return false
}

func (c *recordContext) close() {
	if c.ottl != nil {
		c.ottl.Close()
		c.ottl = nil
	}
}

// anyMet says whether the record meets any of the conditions; it meets an empty list. A condition that fails is as
// one that is not met: its error, the first if there are several, counts only if no other condition is met.
func (c *recordContext) anyMet(ctx context.Context, conditions []Condition) (bool, error) {
	if len(conditions) == 0 {
		return true, nil
	}
	var first error
	for _, condition := range conditions {
		met, err := c.eval(ctx, condition)
		if err != nil && first == nil {
			first = err
		}
		if err == nil && met {
			return true, nil
		}
	}
	return false, first
}

// eval evaluates a condition, without OTTL if it is plain.
func (c *recordContext) eval(ctx context.Context, condition Condition) (met bool, err error) {
	if condition.plain != nil {
		return condition.plain.met(c.rl.Resource(), c.record), nil
	}
	return c.evalOTTL(ctx, condition)
}

// evalOTTL has OTTL evaluate a condition; a panic in it, which some odd record might cause, is an error like any other.
func (c *recordContext) evalOTTL(ctx context.Context, condition Condition) (met bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			met, err = false, fmt.Errorf("%w: %v", ErrPanicked, p)
		}
	}()
	tc, err := c.transformContext()
	if err != nil {
		return false, err
	}
	return condition.ottl.Eval(ctx, tc)
}

// value evaluates an expression, as evalOTTL does a condition.
func (c *recordContext) value(ctx context.Context, expression Expression) (value any, err error) {
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("%w: %v", ErrPanicked, p)
		}
	}()
	tc, err := c.transformContext()
	if err != nil {
		return nil, err
	}
	return expression.Eval(ctx, tc)
}
