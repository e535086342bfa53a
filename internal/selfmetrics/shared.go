// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// pipelineAttributes are what the Collector says about the pipeline of a processor in its log lines and, with the
// feature gate telemetry.newPipelineTelemetry, in the scope of its metrics.
var pipelineAttributes = []string{"otelcol.signal", "otelcol.pipeline.id"}

// WithoutPipeline returns settings for what several pipelines share: nothing that it tells is about one of them. The id
// of the component stays.
func WithoutPipeline(set component.TelemetrySettings) component.TelemetrySettings {
	set.Logger = set.Logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return withoutInjected(core, pipelineAttributes)
	}))
	set.MeterProvider = withoutInjected(set.MeterProvider, pipelineAttributes)
	return set
}

// withoutInjected returns from without some of the attributes that the Collector has put into it, if it has.
func withoutInjected[T any](from T, attributes []string) T {
	if injected, ok := any(from).(interface{ DropInjectedAttributes(...string) T }); ok {
		return injected.DropInjectedAttributes(attributes...)
	}
	return from
}
