// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/otlptranslator"
	// as otelgrpc has them, unless it is asked for the new ones
	oldrpcconv "go.opentelemetry.io/otel/semconv/v1.37.0/rpcconv"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/store"
)

var (
	errOneName = errors.New("give one of them another name")
	errNoName  = errors.New("it has no name in Prometheus: use an ASCII letter or digit, or set `store`")
)

// ErrReserved says that a name is not the user's to give.
var ErrReserved = errors.New("is reserved")

// instrument is what the packages of semantic conventions have.
type instrument interface {
	Name() string
	Unit() string
}

// collectorInstruments are those of the Collector's own telemetry whose names do not begin with otelcol: its HTTP and
// gRPC servers and clients have them, with `level: detailed`.
var collectorInstruments = []instrument{
	httpconv.ServerRequestDuration{},
	httpconv.ServerActiveRequests{},
	httpconv.ServerRequestBodySize{},
	httpconv.ServerResponseBodySize{},
	httpconv.ClientRequestDuration{},
	httpconv.ClientActiveRequests{},
	httpconv.ClientRequestBodySize{},
	httpconv.ClientResponseBodySize{},
	httpconv.ClientOpenConnections{},
	httpconv.ClientConnectionDuration{},
	rpcconv.ServerCallDuration{},
	rpcconv.ClientCallDuration{},
	oldrpcconv.ServerDuration{},
	oldrpcconv.ServerRequestSize{},
	oldrpcconv.ServerResponseSize{},
	oldrpcconv.ServerRequestsPerRPC{},
	oldrpcconv.ServerResponsesPerRPC{},
	oldrpcconv.ClientDuration{},
	oldrpcconv.ClientRequestSize{},
	oldrpcconv.ClientResponseSize{},
	oldrpcconv.ClientRequestsPerRPC{},
	oldrpcconv.ClientResponsesPerRPC{},
}

// takenPrefixes begin names of the Collector's own telemetry: of its components, of the page's handler, and of the
// OpenTelemetry SDK about itself.
var takenPrefixes = []string{"otelcol_", "promhttp_", "otel_sdk_", "otel_scope_"}

// takenNames are the other names of the Collector's own telemetry. A histogram has several, and which of them a counter
// may have depends on the order in which a page is gathered: none.
var takenNames = sync.OnceValue(func() map[string]bool {
	taken := map[string]bool{otlptranslator.TargetInfoMetricName: true}
	for _, unit := range []bool{false, true} {
		for _, i := range collectorInstruments {
			name := baseName(i, unit)
			for _, suffix := range []string{"", "_bucket", "_sum", "_count", "_total"} {
				taken[name+suffix] = true
			}
		}
	}
	return taken
})

// baseName returns the name of an instrument in Prometheus, with or without its unit.
func baseName(i instrument, unit bool) string {
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	m := otlptranslator.Metric{Name: i.Name(), Type: otlptranslator.MetricTypeHistogram}
	if unit {
		m.Unit = i.Unit()
	}
	name, _ := namer.Build(m) // they all have one
	return name
}

// InstrumentNames returns the names of instruments of the Collector's own telemetry that do not begin with otelcol.
func InstrumentNames() (names []string) {
	for _, i := range collectorInstruments {
		names = append(names, i.Name())
	}
	return names
}

// ValidateNames wants names that Prometheus can tell apart, wherever the totals are shown, and, where that is the
// Collector's own telemetry, names that are not taken there: one that is would break the whole page. Metrics without a
// name are left out.
func ValidateNames(metrics []store.Description, published bool) error {
	owners := [3]map[string]string{{}, {}, {}} // by each of the forms
	var errs []error
	for _, m := range metrics {
		if m.Metric == "" {
			continue
		}
		if err := validateForms(m, owners); err != nil {
			errs = append(errs, err)
		} else if published {
			errs = append(errs, validateFree(m.Metric))
		}
	}
	return errors.Join(errs...)
}

// validateForms wants no name in Prometheus that another metric has, and enters those that m has.
func validateForms(m store.Description, owners [3]map[string]string) error {
	forms := labels.Forms(m.Metric, m.Unit)
	for i, form := range forms {
		if owner, taken := owners[i][form]; taken {
			return fmt.Errorf("`logs::%s`: the metric is called %s in Prometheus, as `logs::%s` is: %w", m.Metric, form, owner, errOneName)
		}
	}
	for i, form := range forms {
		if form != "" {
			owners[i][form] = m.Metric
		}
	}
	return nil
}

// validateFree wants a name that the Collector's own telemetry does not have.
func validateFree(name string) error {
	_, prometheus, ok := labels.Metric(name)
	if !ok {
		return fmt.Errorf("`logs::%s`: name of a metric: %w", name, errNoName)
	}
	for _, prefix := range takenPrefixes {
		if strings.HasPrefix(prometheus, prefix) {
			return reserved(name, "names that begin with "+prefix)
		}
	}
	if takenNames()[prometheus] {
		return reserved(name, "the name "+prometheus)
	}
	return nil
}

func reserved(name, what string) error {
	return fmt.Errorf("`logs::%s`: name of a metric %w: the Collector uses %s for its own telemetry, where the totals are shown: add a prefix, or set `store`",
		name, ErrReserved, what)
}
