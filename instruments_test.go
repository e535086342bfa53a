// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
)

// However many metrics and processors there are, the balance of each is on the page: the SDK folds nothing.
func TestManyMetricsKeepTheirBalance(t *testing.T) {
	for _, tt := range []struct{ processors, metrics int }{{1, 200}, {1, 201}, {1, 2500}, {30, 10}} {
		page := newMetricsPage(t)
		for p := range tt.processors {
			var names []string
			for m := range tt.metrics {
				names = append(names, fmt.Sprint("m", m))
			}
			made := page.start(NewFactory(), fmt.Sprint("tally/", p), configOf(names))
			require.NoError(t, made.ConsumeLogs(t.Context(), logs(p+1, nil)))
			settle(t, made)
		}
		families := page.families(t, scrapers[0].accept, scrapers[0].validation)
		for metric, want := range map[string]int{
			"records_received": tt.processors, "records_counted": tt.processors * tt.metrics, "records_in_flight": tt.processors * tt.metrics, "cardinality_limit": tt.processors * tt.metrics,
			"records_not_counted": tt.processors * tt.metrics * 9,
		} {
			series := families["otelcol_processor_tally_"+metric].GetMetric()
			assert.Len(t, series, want, "%v: %s", tt, metric)
			for _, m := range series {
				require.NotContains(t, labelText(m), "otel_metric_overflow")
			}
		}
		for _, m := range families["otelcol_processor_tally_records_counted"].GetMetric() {
			var p int
			_, after, _ := strings.Cut(labelText(m), "processor=tally/")
			_, err := fmt.Sscan(after, &p)
			require.NoError(t, err)
			require.EqualValues(t, p+1, m.GetCounter().GetValue(), labelText(m))
		}
	}
}

// The balance of a component of another kind is its own, also where the ids are the same.
func TestKindsTellBalancesApart(t *testing.T) {
	page := newMetricsPage(t)
	for i, options := range [][]Option{nil, {WithKind(component.KindConnector)}} {
		p := page.start(NewFactory(append(options, WithMetricStore(NewMemoryStore()))...), "tally", createDefaultConfig())
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(i+1, nil)))
		settle(t, p)
	}
	assert.Equal(t, map[string]float64{"processor=tally": 1, "connector=tally": 2}, page.scrape("otelcol_processor_tally_records_received"))
	assert.Equal(t, map[string]float64{"metric=log.record.count,processor=tally": 1, "connector=tally,metric=log.record.count": 2},
		page.scrape("otelcol_processor_tally_records_counted"))
}
