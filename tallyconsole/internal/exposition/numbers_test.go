// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// A label has the text that pdata has of a number, and so a double and the string that is shown alike are one series.
func TestNumbersInLabels(t *testing.T) {
	var totals []one
	want := map[string]float64{}
	seen := map[string]bool{}
	double := valuetest.Number(true)
	for i := range 300 {
		f := double.Example(i) + 0 // without the sign of a zero
		label := pcommon.NewValueDouble(f).AsString()
		for _, v := range []serieskey.Value{serieskey.DoubleValue(f), serieskey.StringValue(label)} {
			key := serieskey.Key{Metric: "m", Attributes: []serieskey.Attribute{{Name: "a", Value: v}}}.String()
			if !seen[key] {
				seen[key] = true
				totals = append(totals, one{key, 1})
				want[label]++
			}
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(page(t, text, false, Family{metrics(totals...)["m"], "", ""})))
	require.NoError(t, err)
	got := map[string]float64{}
	for _, m := range parsed["m_total"].Metric {
		got[m.GetLabel()[0].GetValue()] += m.GetCounter().GetValue()
	}
	assert.Len(t, parsed["m_total"].Metric, len(want), "one series each")
	assert.Equal(t, want, got)
}
