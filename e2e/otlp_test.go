// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const protobuf = "application/x-protobuf"

// logsWith returns a record for each value, in the attribute of that name.
func logsWith(attribute string, values []string) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, value := range values {
		records.AppendEmpty().Attributes().PutStr(attribute, value)
	}
	return logs
}

// send sends logs by OTLP over HTTP; they must be accepted.
func send(t *testing.T, httpPort int, logs plog.Logs) {
	t.Helper()
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	require.NoError(t, err)
	response, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/v1/logs", httpPort), protobuf, bytes.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// metricsServer takes the metrics that a Collector pushes by OTLP over HTTP.
type metricsServer struct {
	*httptest.Server

	// mu guards pushes.
	mu     sync.Mutex
	pushes []pmetric.Metrics
}

func startMetricsServer(t *testing.T) *metricsServer {
	s := &metricsServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		request := pmetricotlp.NewExportRequest()
		if err == nil {
			err = request.UnmarshalProto(body)
		}
		if err != nil {
			t.Error(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pushes = append(s.pushes, request.Metrics())
		w.Header().Set("Content-Type", protobuf)
	}))
	t.Cleanup(s.Close)
	return s
}

// values returns what the points of a metric added up to in each push, -1 where it had none.
func (s *metricsServer) values(metric string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []int
	for _, push := range s.pushes {
		list = append(list, sumOf(push, metric))
	}
	return list
}

func sumOf(push pmetric.Metrics, metric string) int {
	sum, found := 0, false
	for _, resource := range push.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				if m.Name() != metric || m.Type() != pmetric.MetricTypeSum {
					continue
				}
				for _, point := range m.Sum().DataPoints().All() {
					sum, found = sum+int(point.IntValue())+int(point.DoubleValue()), true
				}
			}
		}
	}
	if !found {
		return -1
	}
	return sum
}
