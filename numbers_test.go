// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/valuetest"
)

// A label has the text that pdata has of a number, as other exporters have it, and so what is shown alike is one
// series.
func TestNumbersInLabels(t *testing.T) {
	const n = 300
	page := newMetricsPage(t)
	p := page.start(NewFactory(), "tally", testConfig(t, `{resource_attributes: [], logs: {m: {attributes: [{key: a}]}}}`))
	want := map[string]float64{}
	double := valuetest.Number(true)
	require.NoError(t, p.ConsumeLogs(t.Context(), logs(3*n, func(i int, r plog.LogRecord) {
		f := double.Example(i/3) + 0 // without the sign of a zero
		text := pcommon.NewValueDouble(f).AsString()
		whole, err := strconv.ParseInt(text, 10, 64)
		switch {
		case i%3 == 0:
			r.Attributes().PutDouble("a", f)
		case i%3 == 1 && err == nil:
			r.Attributes().PutInt("a", whole)
		default:
			r.Attributes().PutStr("a", text)
		}
		want["a="+text+",processor=tally"]++
	})))
	settle(t, p)
	assert.Equal(t, want, page.scrape("m"))
}
