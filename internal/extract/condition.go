package extract

import (
	"context"
	"fmt"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Condition is a parsed OTTL condition on a log record.
type Condition = *ottl.Condition[*ottllog.TransformContext]

// ConditionParser parses OTTL conditions. Make one with NewConditionParser.
type ConditionParser struct {
	collection *ottl.ParserCollection[[]Condition]
}

// NewConditionParser returns a parser for conditions on log records, with OTTL's standard converters. The paths may
// name their context (`log.attributes["a"]`) or not (`attributes["a"]`), as in the count connector.
func NewConditionParser(settings component.TelemetrySettings) (*ConditionParser, error) {
	parser, err := ottllog.NewParser(
		ottlfuncs.StandardConverters[*ottllog.TransformContext](), settings, ottllog.EnablePathContextNames(),
	)
	if err != nil {
		return nil, err
	}
	collection, err := ottl.NewParserCollection(settings, ottl.WithParserCollectionContext(
		ottllog.ContextName, &parser, ottl.WithConditionConverter(
			func(_ *ottl.ParserCollection[[]Condition], _ ottl.ConditionsGetter, parsed []Condition) ([]Condition, error) {
				return parsed, nil
			}),
	))
	if err != nil {
		return nil, err
	}
	return &ConditionParser{collection: collection}, nil
}

// Parse parses one condition. The error of one that does not parse says where.
func (p *ConditionParser) Parse(text string) (Condition, error) {
	const addMissingContext = true
	parsed, err := p.collection.ParseConditionsWithContext(
		ottllog.ContextName, ottl.NewConditionsGetter([]string{text}), addMissingContext,
	)
	if err != nil {
		return nil, err
	}
	return parsed[0], nil
}

// conditionContext is what conditions see of one record. The OTTL context is made when the first condition needs it.
type conditionContext struct {
	rl     plog.ResourceLogs
	sl     plog.ScopeLogs
	record plog.LogRecord
	ottl   *ottllog.TransformContext
}

// anyMet says whether the record meets any of the conditions; it meets an empty list. A condition that fails is as
// one that is not met: its error, the first if there are several, counts only if no other condition is met.
func (c *conditionContext) anyMet(ctx context.Context, conditions []Condition) (bool, error) {
	if len(conditions) == 0 {
		return true, nil
	}
	if c.ottl == nil {
		c.ottl = ottllog.NewTransformContext(c.rl, c.sl, c.record)
	}
	var first error
	for _, condition := range conditions {
		met, err := eval(ctx, condition, c.ottl)
		if err != nil && first == nil {
			first = err
		}
		if err == nil && met {
			return true, nil
		}
	}
	return false, first
}

func (c *conditionContext) close() {
	if c.ottl != nil {
		c.ottl.Close()
	}
}

// eval evaluates a condition; a panic in it, which some odd record might cause, is an error like any other.
func eval(ctx context.Context, condition Condition, record *ottllog.TransformContext) (met bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			met, err = false, fmt.Errorf("%w: %v", ErrConditionPanicked, p)
		}
	}()
	return condition.Eval(ctx, record)
}
