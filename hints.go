package tallyprocessor

import (
	"context"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/extract"
)

// warnOfFields warns of attributes to count by that are called like a field of the record, as OTTL has it: they are valid, and
// what is meant may be the field.
func (e *explainer) warnOfFields(metrics []namedMetric) error {
	parser, err := newParser()
	if err != nil {
		return err
	}
	for _, m := range metrics {
		for i, a := range m.Attributes {
			if field := fieldCalled(a.Key, parser); a.Value == "" && field != "" {
				e.logger.Warn("An attribute to count by is called like a field of the record. If the field is meant, it needs a value",
					zap.String("metric", m.name), zap.String("attribute", a.Key),
					zap.String("change", fmt.Sprintf("`logs::%s::attributes::%d`: write `value: %s`", m.name, i, field)))
			}
		}
	}
	return nil
}

// fieldCalled returns how OTTL gets the field of that name as text where it has such a way, or else as it is; empty = there is no
// such field.
func fieldCalled(key string, parser *extract.Parser) string {
	if slices.Contains([]string{"true", "false", "nil"}, key) || key == "" || key[0] < 'a' || key[0] > 'z' {
		return "" // a literal, or an attribute's name for sure
	}
	for _, path := range []string{key + ".string", key} {
		if _, err := parser.Expression(path); err == nil {
			return path
		}
	}
	return ""
}

// warnOfNoTelemetry warns that totals go nowhere: they are on the Collector's own telemetry alone, which is off.
func (e *explainer) warnOfNoTelemetry(ctx context.Context, provider metric.MeterProvider) {
	probe, err := provider.Meter("github.com/logtally/tallyprocessor").Int64Counter("otelcol_processor_tally_probe")
	if err == nil && !probe.Enabled(ctx) {
		e.logger.Warn("The totals are published nowhere: without a store they are on the Collector's own telemetry, which is off",
			zap.String("change", "`service::telemetry::metrics::level`: choose another than `none`; or `store`: name a store extension"))
	}
}
