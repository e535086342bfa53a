// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/internal/configfuzz"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// fuzzedConfig has all that looks at records: plain and general conditions, globs, expressions, amounts, and tight
// limits.
const fuzzedConfig = `
logs:
  all:
  by.user: {attributes: [{key: user, optional: true}], cardinality_limit: 3}
  glob: {attributes: [{key: "*"}]}
  expression: {attributes: [{key: b, value: body, default_value: none}, {key: d, value: 'attributes["a"]["b"]', optional: true}]}
  some: {conditions: ['attributes["user"] == "a"', 'IsMatch(body, "x+")']}
  bytes: {sum: bytes}
  amount: {sum: 'attributes["n"]'}
attribute_value_length_limit: 20
key_length_limit: 300
queue: {num_consumers: 1, queue_size: 2}
error_mode: silent`

// consumeBytes unmarshals bytes as a request and counts it. It says whether they were one, and what was counted of it.
func consumeBytes(t testing.TB, data []byte) (records int, isRequest bool) {
	request := plogotlp.NewExportRequest()
	if request.UnmarshalProto(data) != nil {
		return 0, false
	}
	ld := request.Logs()
	before, err := new(plog.ProtoMarshaler).MarshalLogs(ld)
	require.NoError(t, err)
	ld.MarkReadOnly()
	forwarded := 0
	next, _ := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error {
		after, err := new(plog.ProtoMarshaler).MarshalLogs(ld)
		require.NoError(t, err)
		require.Equal(t, before, after, "the logs pass on unchanged")
		forwarded = ld.LogRecordCount()
		return nil
	})
	store := NewMemoryStore()
	p, err := NewFactory(WithMetricStore(store)).CreateLogs(context.Background(), processortest.NewNopSettings(metadata.Type), testConfig(t, fuzzedConfig), next)
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeLogs(context.Background(), ld))
	require.NoError(t, p.Shutdown(context.Background()))
	totals := map[string]int{}
	for total, err := range store.Totals(context.Background()) {
		require.NoError(t, err)
		key, err := serieskey.Decode(total.Key)
		require.NoError(t, err, "%q", total.Key)
		require.LessOrEqual(t, len(total.Key), 300)
		totals[key.Metric] += total.Value
	}
	for _, metric := range []string{"all", "by.user", "glob"} {
		require.Equal(t, forwarded, totals[metric], metric)
	}
	require.LessOrEqual(t, totals["some"], forwarded)
	return forwarded, true
}

// oddRequests are seeds for the fuzzer: what is likely to be special.
func oddRequests(t testing.TB) [][]byte {
	var list [][]byte
	for _, edit := range []func(plog.LogRecord){
		func(plog.LogRecord) {},
		func(r plog.LogRecord) { r.Attributes().PutStr("user", "a\xff") },
		func(r plog.LogRecord) { r.Attributes().PutStr("user", "a\xfe\x00\n\u2028") },
		func(r plog.LogRecord) { r.Attributes().PutStr("", strings.Repeat("long", 100)) },
		func(r plog.LogRecord) {
			r.Attributes().PutEmptyMap("a").PutEmptySlice("b").AppendEmpty().SetDouble(0.5)
		},
		func(r plog.LogRecord) { r.Attributes().PutInt("n", -1); r.Body().SetStr("xxx") },
		func(r plog.LogRecord) {
			r.Attributes().PutDouble("n", 1e300)
			r.Body().SetEmptyBytes().FromRaw([]byte{0xff})
		},
		func(r plog.LogRecord) {
			m := r.Body().SetEmptyMap()
			for range 100 {
				m = m.PutEmptyMap("deep")
			}
		},
	} {
		data, err := plogotlp.NewExportRequestFromLogs(logs(2, func(_ int, r plog.LogRecord) { edit(r) })).MarshalProto()
		require.NoError(t, err)
		list = append(list, data)
	}
	return append(list, nil, []byte{0x0a, 0}, []byte{0x0a, 2, 0x12, 0})
}

// FuzzConsumeLogs: whatever is a request passes on unchanged, makes nothing panic, and is counted to the record, under
// keys that are whole.
func FuzzConsumeLogs(f *testing.F) {
	for _, data := range oddRequests(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { consumeBytes(t, data) })
}

// TestFault_input_random_bytes sends random bytes, and requests with a few random changes, as OTLP.
func TestFault_input_random_bytes(t *testing.T) {
	rounds, seed := evidence.Rounds(300, 30_000), evidence.Seed(t)
	random := evidence.Random(seed)
	seeds := oddRequests(t)
	requests, records := 0, 0
	for range rounds {
		n, isRequest := consumeBytes(t, disturbed(random, seeds))
		records += n
		if isRequest {
			requests++
		}
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{71}, Claim: "random and disturbed bytes as OTLP: nothing panics, what is a request passes unchanged and counts to the record",
		Seed: seed, Rounds: rounds, Unit: "inputs", Fired: rounds, Counts: int64(records), Note: fmt.Sprintf("%d of them were requests", requests),
	})
}

// disturbed returns random bytes, or a request with a few of its own changed.
func disturbed(random *rand.Rand, seeds [][]byte) []byte {
	if random.IntN(10) == 0 {
		data := make([]byte, random.IntN(100))
		for i := range data {
			data[i] = byte(random.IntN(256))
		}
		return data
	}
	data := append([]byte{}, seeds[random.IntN(len(seeds))]...)
	for range random.IntN(4) {
		if len(data) == 0 {
			break
		}
		switch at := random.IntN(len(data)); random.IntN(3) {
		case 0:
			data[at] ^= 1 << random.IntN(8)
		case 1:
			data = data[:at]
		case 2:
			data = append(data[:at], append([]byte{byte(random.IntN(256))}, data[at:]...)...)
		}
	}
	return data
}

// FuzzConfig: whatever is YAML is a configuration that works, or errors; nothing panics. What is valid starts, or says
// why not.
func FuzzConfig(f *testing.F) {
	configfuzz.Fuzz(f, createDefaultConfig, func(t *testing.T, c component.Config) (component.Component, error) {
		cfg := c.(*Config)
		if cfg.Queue.NumConsumers > 100 || cfg.Queue.QueueSize > 1000 {
			t.Skip("it is valid, and takes the memory that it asks for")
		}
		p, err := NewFactory().CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		return startsAndCounts{p, t, cfg}, err
	},
		fuzzedConfig, `logs:`, `logs: []`, `logs: {a: 1}`, `logs: {"": {conditions: [""]}}`, `durable: 7`, `durable: true`, `queue: {queue_size: -1}`,
		`logs: {a: {attributes: [{key: a, default_value: .nan}]}}`, `logs: {a: {sum: "1 +"}}`, `resource_attributes: [a, a]`,
		`shutdown_timeout: 1e9`, `forget_after: -1s`, `error_mode: {}`, `logs: {a: {attributes: [{key: "*", optional: yes}, null]}}`,
	)
}

// startsAndCounts is a processor that fails to start only for want of a store, and gets two records then.
type startsAndCounts struct {
	processor.Logs
	t   *testing.T
	cfg *Config
}

func (p startsAndCounts) Start(ctx context.Context, host component.Host) error {
	err := p.Logs.Start(ctx, host)
	if err != nil {
		assert.True(p.t, p.cfg.Store != nil || p.cfg.Durable, "%v", err)
		return err
	}
	_ = p.ConsumeLogs(ctx, logs(2, nil)) // `propagate` may refuse them
	return nil
}
