// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

// WarnOfNoTelemetry warns that totals go nowhere: they are on the Collector's own telemetry alone, which is off.
func (e *Log) WarnOfNoTelemetry(ctx context.Context, provider metric.MeterProvider) {
	probe, err := provider.Meter("github.com/logtally/tallyprocessor").Int64Counter("otelcol_processor_tally_probe")
	if err == nil && !probe.Enabled(ctx) {
		e.logger.Warn("The totals are not published: without `store` they are on the Collector's own telemetry, which is off",
			zap.String("change", "`service::telemetry::metrics::level`: set another level than `none`; or `store`: name a store extension"))
	}
}

// Field is an attribute to count by that is called like a field of the record.
type Field struct {
	Metric, Attribute string
	Option            string // its path
	Value             string // how OTTL gets the field
}

// WarnOfFields warns of attributes that are called like fields: they are valid, and what is meant may be the field.
func (e *Log) WarnOfFields(fields []Field) {
	for _, f := range fields {
		e.logger.Warn("An attribute to count by has the name of a field of the record. To count by the field, set `value`",
			zap.String("metric", f.Metric), zap.String("attribute", f.Attribute),
			zap.String("change", fmt.Sprintf("`%s`: write `value: %s`", f.Option, f.Value)))
	}
}
