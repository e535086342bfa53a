// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// workload is one thing to count, said once for each contestant.
type workload struct {
	name  string
	what  string
	logs  func(t testing.TB) []plog.Logs
	warm  func(t testing.TB) []plog.Logs // what is counted first, beside logs
	tally string                         // configuration of tally
	count string                         // configuration of `count`; empty = as tally's
	s2m   string                         // configuration of `signal_to_metrics`; empty = it does not take part
	byHand
}

// byHand is what somebody would write who needs nothing but this one number: it counts the records of a batch.
type byHand func() (count func(plog.Logs))

// The shape of a batch.
const (
	resources       = 8
	recordsPerBatch = 8192
)

// shape says how the logs of a workload differ from plain ones.
type shape struct {
	batches            int // 0 = 1
	records            int // a batch; 0 = recordsPerBatch
	resources          int // a batch; 0 = resources
	resourceAttributes int // beside service.name
	users              func(resource, record int) string
}

// severities are those of ten records: most logs say that all is well.
var severities = []plog.SeverityNumber{
	plog.SeverityNumberInfo, plog.SeverityNumberInfo, plog.SeverityNumberDebug, plog.SeverityNumberInfo, plog.SeverityNumberWarn,
	plog.SeverityNumberInfo, plog.SeverityNumberInfo, plog.SeverityNumberError, plog.SeverityNumberInfo, plog.SeverityNumberInfo,
}

// logs returns batches as a receiver hands them on: each string is one of its own.
func (s shape) logs(t testing.TB) []plog.Logs {
	var list []plog.Logs
	for b := range max(s.batches, 1) {
		list = append(list, received(t, s.batch(b)))
	}
	return list
}

// received returns logs as a receiver makes them of what it was sent.
func received(t testing.TB, ld plog.Logs) plog.Logs {
	encoded, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	require.NoError(t, err)
	ld, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(encoded)
	require.NoError(t, err)
	ld.MarkReadOnly()
	return ld
}

func (s shape) batch(b int) plog.Logs {
	ofBatch, perBatch := s.resources, s.records
	if ofBatch == 0 {
		ofBatch = resources
	}
	if perBatch == 0 {
		perBatch = recordsPerBatch
	}
	ld := plog.NewLogs()
	for r := range ofBatch {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", r))
		for i := range s.resourceAttributes {
			rl.Resource().Attributes().PutStr(podAttributes[i], fmt.Sprintf("%s-of-%d", podAttributes[i], r))
		}
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName("net/http")
		sl.Scope().Attributes().PutStr("library.language", "go")
		for i := range perBatch / ofBatch {
			s.record(sl.LogRecords().AppendEmpty(), r, b*perBatch/ofBatch+i)
		}
	}
	return ld
}

// record fills in a record with six attributes.
func (s shape) record(record plog.LogRecord, resource, i int) {
	record.SetTimestamp(pcommon.Timestamp(1_700_000_000_000_000_000 + i))
	record.SetSeverityNumber(severities[i%10])
	record.SetSeverityText(severities[i%10].String())
	record.Body().SetStr("GET /api/v1/items/17 200 in 12 ms")
	user := fmt.Sprintf("user-%04d", resource*125+i%125)
	if s.users != nil {
		user = s.users(resource, i)
	}
	a := record.Attributes()
	a.PutStr("http.request.method", []string{"GET", "GET", "POST"}[i%3])
	a.PutStr("http.route", fmt.Sprint("/api/v1/items/", i%10))
	a.PutInt("http.response.status_code", int64(200+i%5))
	a.PutStr("user.id", user)
	a.PutStr("client.address", fmt.Sprint("10.0.0.", i%40))
	a.PutStr("user_agent.original", "curl/8.0")
}

// podAttributes are what the k8s_attributes processor and the resource detectors put on the logs of a pod.
var podAttributes = []string{
	"k8s.cluster.uid", "k8s.namespace.name", "k8s.node.name", "k8s.pod.name", "k8s.pod.uid", "k8s.pod.start_time", "k8s.pod.ip",
	"k8s.container.name", "k8s.container.restart_count", "k8s.deployment.name", "k8s.replicaset.name", "container.id",
	"container.image.name", "container.image.tag", "host.name", "host.id", "cloud.provider", "cloud.region",
	"cloud.availability_zone",
}

// manyUsers is how many users W5 has, each of one resource.
const manyUsers = 100_000

// zipf returns users of which few are frequent and most are rare.
func zipf() func(resource, record int) string {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, manyUsers/resources-1)
	return func(resource, _ int) string { return fmt.Sprintf("user-%06d", int(z.Uint64())*resources+resource) }
}

// each returns all users, one after the other.
func each(resource, record int) string {
	return fmt.Sprintf("user-%06d", record*resources%manyUsers+resource)
}

// signalToMetrics returns a configuration of `signal_to_metrics` for one count.
func signalToMetrics(conditions string, attributes ...string) string {
	text := "logs:\n  - name: c\n    description: Count.\n    sum: {value: \"1\"}\n"
	if conditions != "" {
		text += "    conditions: [" + conditions + "]\n"
	}
	if len(attributes) > 0 {
		text += "    attributes: [{key: " + strings.Join(attributes, "}, {key: ") + "}]\n"
	}
	return text
}

const (
	plainCondition = `severity_number >= SEVERITY_NUMBER_INFO`
	// ottlCondition has a function, so that OTTL has to evaluate it.
	ottlCondition = `Len(severity_text) < 6`
)

var workloads = []workload{
	{
		name: "W1", what: "all records, no key",
		logs: shape{}.logs, tally: `logs: {c: {}}`, s2m: signalToMetrics(""), byHand: walk,
	},
	{
		name: "W2", what: "one string attribute, 10 values",
		logs: shape{}.logs, tally: `logs: {c: {attributes: [{key: http.route}]}}`, s2m: signalToMetrics("", "http.route"),
		byHand: countString("http.route"),
	},
	{
		name: "W3", what: "three attributes (string, string, int), severity condition",
		logs: shape{}.logs,
		tally: `logs: {c: {conditions: ['` + plainCondition + `'],
			attributes: [{key: http.request.method}, {key: http.route}, {key: http.response.status_code}]}}`,
		s2m:    signalToMetrics(`'`+plainCondition+`'`, "http.request.method", "http.route", "http.response.status_code"),
		byHand: countThree(func(r plog.LogRecord) bool { return r.SeverityNumber() >= plog.SeverityNumberInfo }),
	},
	{
		name: "W3-ottl", what: "the same, with a condition that only OTTL can evaluate",
		logs: shape{}.logs,
		tally: `logs: {c: {conditions: ['` + ottlCondition + `'],
			attributes: [{key: http.request.method}, {key: http.route}, {key: http.response.status_code}]}}`,
		s2m:    signalToMetrics(`'`+ottlCondition+`'`, "http.request.method", "http.route", "http.response.status_code"),
		byHand: countThreeWithOTTL,
	},
	{
		name: "W4", what: "one attribute, 1,000 values a batch",
		logs: shape{}.logs, tally: `logs: {c: {attributes: [{key: user.id}]}}`, s2m: signalToMetrics("", "user.id"),
		byHand: countString("user.id"),
	},
	{
		name: "W5", what: "one attribute, 100,000 values, Zipf",
		logs:  func(t testing.TB) []plog.Logs { return shape{users: zipf()}.logs(t) },
		warm:  shape{batches: manyUsers/recordsPerBatch + 1, users: each}.logs,
		tally: `logs: {c: {cardinality_limit: 0, attributes: [{key: user.id}]}}`,
		count: `logs: {c: {attributes: [{key: user.id}]}}`, s2m: signalToMetrics("", "user.id"),
	},
	{
		name: "W6", what: "five metrics at once",
		logs: shape{}.logs,
		tally: `logs:
  all: {}
  routes: {attributes: [{key: http.route}]}
  answers: {conditions: ['` + plainCondition + `'], attributes: [{key: http.request.method}, {key: http.response.status_code}]}
  errors: {conditions: ['severity_number >= SEVERITY_NUMBER_ERROR'], attributes: [{key: http.route}]}
  clients: {attributes: [{key: client.address}]}`,
	},
	{
		name: "W7", what: "one string attribute, batches of 10 records",
		logs:  shape{records: 10, resources: 1}.logs,
		tally: `logs: {c: {attributes: [{key: http.route}]}}`, s2m: signalToMetrics("", "http.route"),
	},
	{
		name: "W8", what: "keys from record, scope and resource",
		logs:  shape{}.logs,
		tally: `logs: {c: {attributes: [{key: http.route}, {key: library.language}, {key: service.name}]}}`,
	},
	{
		name: "W9", what: "one string attribute, 20 resource attributes of a Kubernetes pod kept",
		logs:  shape{resourceAttributes: len(podAttributes)}.logs,
		tally: `logs: {c: {attributes: [{key: http.route}]}}`, s2m: signalToMetrics("", "http.route"),
	},
}
