// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
)

// count sends n log records with a route and a code.
func count(t *testing.T, p processor.Logs, n int, route string, code int64) {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "shop")
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		attributes := records.AppendEmpty().Attributes()
		attributes.PutStr("route", route)
		attributes.PutInt("code", code)
	}
	require.NoError(t, p.ConsumeLogs(t.Context(), logs))
}
