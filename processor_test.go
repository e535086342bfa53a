// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor/contracttest"
	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/metadata"
)

func TestVerifyShutdown(t *testing.T) {
	processortest.VerifyShutdown(t, NewFactory(), createDefaultConfig())
}

func TestConsumeContract(t *testing.T) {
	for _, policy := range []FullPolicy{FullBlock, FullReject} {
		t.Run(string(policy), func(t *testing.T) {
			contracttest.Check(t, 2000, func(t *testing.T) contracttest.Subject {
				store := NewMemoryStore()
				cfg := testConfig(t, `
resource_attributes: []
logs: {c: {attributes: [{key: test_id}], cardinality_limit: 0}}
queue: {queue_size: 8, num_consumers: 2}`)
				cfg.Queue.OnFull = policy
				return contracttest.Subject{
					Factory: NewFactory(WithMetricStore(store)),
					Config:  cfg,
					Counted: func(id string) int { return store.Get(fmt.Sprintf(`["c",{},{"test_id":%q}]`, id)) },
					Sum:     func() int { sum, _ := sumOf(t, store); return sum },
				}
			})
		})
	}
}

func TestCapabilities(t *testing.T) {
	h := start(t, createDefaultConfig().(*Config), nil, consumertest.NewNop())
	assert.False(t, h.Capabilities().MutatesData)
}

// Row 1, 2: what the next consumer answers is the answer, and decides whether the batch counts.
func TestFault_next_refuses(t *testing.T) {
	for name, refusal := range map[string]error{
		"retryable": errors.New("try again"),
		"permanent": consumererror.NewPermanent(errors.New("never")),
	} {
		t.Run(name, func(t *testing.T) {
			store := NewMemoryStore()
			answer := refusal
			next, _ := consumer.NewLogs(func(context.Context, plog.Logs) error { return answer })
			h := start(t, createDefaultConfig().(*Config), store, next)
			batch := logs(3, nil)
			assert.Equal(t, refusal, h.ConsumeLogs(t.Context(), batch))
			answer = nil
			require.NoError(t, h.ConsumeLogs(t.Context(), batch)) // the sender's retry
			require.NoError(t, h.Shutdown(t.Context()))
			assert.Equal(t, 3, store.Get(key))
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{1, 2}, Claim: "what the next consumer refuses counts nothing, and what is sent again counts once",
		Rounds: 2, Fired: 2, Counts: 6,
	})
}

// Row 5: a panic of the next consumer goes on to the caller; the place is given back and nothing is counted.
func TestFault_next_panics(t *testing.T) {
	store := NewMemoryStore()
	panics := true
	next, _ := consumer.NewLogs(func(context.Context, plog.Logs) error {
		if panics {
			panic("boom")
		}
		return nil
	})
	cfg := testConfig(t, `queue: {queue_size: 1, num_consumers: 1, on_full: reject}`)
	h := start(t, cfg, store, next)
	for range 5 { // more often than there are places
		assert.PanicsWithValue(t, "boom", func() { _ = h.ConsumeLogs(t.Context(), logs(2, nil)) })
	}
	assert.EqualValues(t, 10, h.number(t, "records_not_counted", "reason=refused_downstream"))
	h.requireConserved(t)
	panics = false
	require.NoError(t, h.ConsumeLogs(t.Context(), logs(2, nil)))
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 2, store.Get(key))
	evidence.Report(t, evidence.Figure{
		Rows: []int{5}, Claim: "the next consumer panics: the panic goes on, nothing counts, the place is given back",
		Rounds: 5, Unit: "panics", Fired: 5, Counts: 2,
	})
}

// Row 7: a context that has ended is answered before anything is forwarded.
func TestFault_next_context_has_ended(t *testing.T) {
	sink := new(consumertest.LogsSink)
	h := start(t, createDefaultConfig().(*Config), nil, sink)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.ConsumeLogs(ctx, logs(1, nil)), context.Canceled)
	assert.Zero(t, sink.LogRecordCount())
	assert.EqualValues(t, 1, h.number(t, "records_not_counted", "reason=rejected"))
	h.requireConserved(t)
	evidence.Report(t, evidence.Figure{
		Rows: []int{7}, Claim: "a context that has ended: nothing is forwarded or counted",
		Rounds: 1, Fired: 1,
	})
}

// Row 8, 14: the next consumer owns the logs; it may change them at once.
func TestFault_next_changes_the_logs(t *testing.T) {
	store := newGatedStore()
	next, _ := consumer.NewLogs(func(_ context.Context, ld plog.Logs) error {
		ld.ResourceLogs().At(0).Resource().Attributes().PutStr("service.name", "mallory")
		ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().PutStr("user", "mallory")
		return nil
	}, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
	h := start(t, testConfig(t, `logs: {c: {attributes: [{key: user}]}}`), store, next)
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutStr("user", "alice")
	require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	store.open()
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 1, store.Get(`["c",{"service.name":"checkout"},{"user":"alice"}]`))
	evidence.Report(t, evidence.Figure{
		Rows: []int{8}, Claim: "the next consumer changes the logs before it returns: the keys are those that came in",
		Rounds: 1, Fired: 1, Counts: 1,
	})
}

// Row 15: with pooled protobuf messages the memory of the logs is used again once the caller gives them back. What
// waits in the queue must not change then. (Without the feature gate this shows the same, without the danger.)
func TestFault_next_pooled_messages(t *testing.T) {
	store := newGatedStore()
	h := start(t, testConfig(t, `logs: {c: {attributes: [{key: user}]}}`), store, consumertest.NewNop())
	for _, user := range []string{"alice", "mallory"} {
		ld := logs(1, func(_ int, r plog.LogRecord) { r.Attributes().PutStr("user", user) })
		data, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
		require.NoError(t, err)
		request := plogotlp.NewExportRequest()
		require.NoError(t, request.UnmarshalProto(data))
		received := request.Logs()
		received.MarkReadOnly()
		require.NoError(t, h.ConsumeLogs(t.Context(), received))
		pref.UnrefLogs(received)
		clear(data)
	}
	store.open()
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 1, store.Get(`["c",{"service.name":"checkout"},{"user":"alice"}]`))
	assert.Equal(t, 1, store.Get(`["c",{"service.name":"checkout"},{"user":"mallory"}]`))
	evidence.Report(t, evidence.Figure{
		Rows: []int{15}, Claim: "the memory of the logs is used again after the call: the keys are those that came in",
		Rounds: 2, Fired: 2, Counts: 2, Note: "with the feature gate pdata.useProtoPooling in a second run of the package",
	})
}

// Row 12: envelopes without records go on, and are nobody's business.
func TestFault_input_empty_envelopes(t *testing.T) {
	empty := func(edit func(plog.Logs)) plog.Logs {
		ld := plog.NewLogs()
		edit(ld)
		ld.MarkReadOnly()
		return ld
	}
	sink := new(consumertest.LogsSink)
	store := NewMemoryStore()
	h := start(t, createDefaultConfig().(*Config), store, sink)
	for _, ld := range []plog.Logs{
		empty(func(plog.Logs) {}),
		empty(func(ld plog.Logs) { ld.ResourceLogs().AppendEmpty() }),
		empty(func(ld plog.Logs) { ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty() }),
	} {
		require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Len(t, sink.AllLogs(), 3)
	_, keys := sumOf(t, store)
	assert.Zero(t, keys)
	evidence.Report(t, evidence.Figure{
		Rows: []int{12}, Claim: "envelopes without records are forwarded and count nothing",
		Rounds: 3, Fired: 3,
	})
}

// A batch with empty levels between full ones counts what is there.
func TestPartlyEmptyEnvelope(t *testing.T) {
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	ld.MarkReadOnly()
	store := NewMemoryStore()
	h := start(t, createDefaultConfig().(*Config), store, consumertest.NewNop())
	require.NoError(t, h.ConsumeLogs(t.Context(), ld))
	require.NoError(t, h.Shutdown(t.Context()))
	assert.Equal(t, 1, store.Get(`["log.record.count",{},{}]`))
}

// Each odd record is passed on byte for byte and counted as the documentation says.
func TestFault_input_odd_records(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(plog.LogRecord)
		want string // the text of the attribute in the key; empty = not counted
	}{
		{"missing", func(plog.LogRecord) {}, ``},
		{"empty", func(r plog.LogRecord) { r.Attributes().PutEmpty("a") }, `""`},
		{"bytes", func(r plog.LogRecord) { r.Attributes().PutEmptyBytes("a").FromRaw([]byte("\x00\xff")) }, `"AP8="`},
		{"map", func(r plog.LogRecord) { r.Attributes().PutEmptyMap("a").PutInt("x", 1) }, `"{\"x\":1}"`},
		{"slice", func(r plog.LogRecord) { r.Attributes().PutEmptySlice("a").AppendEmpty().SetBool(true) }, `"[true]"`},
		{"int", func(r plog.LogRecord) { r.Attributes().PutInt("a", -1) }, `-1`},
		{"double", func(r plog.LogRecord) { r.Attributes().PutDouble("a", 2) }, `2.0`},
		{"bool", func(r plog.LogRecord) { r.Attributes().PutBool("a", true) }, `true`},
		{"invalid UTF-8", func(r plog.LogRecord) { r.Attributes().PutStr("a", "x\xff") }, "\"x\ufffd\""},
		{"NUL", func(r plog.LogRecord) { r.Attributes().PutStr("a", "\x00") }, `"\u0000"`},
		{"10 MB", func(r plog.LogRecord) { r.Attributes().PutStr("a", strings.Repeat("x", 10<<20)) }, `"` + strings.Repeat("x", 256) + `"`},
		{"deep map", func(r plog.LogRecord) {
			m := r.Attributes().PutEmptyMap("a")
			for range 1000 {
				m = m.PutEmptyMap("m")
			}
		}, `"` + strings.Repeat(`{\"m\":`, 51) + `{"`},
		{"a thousand attributes", func(r plog.LogRecord) {
			for i := range 1000 {
				r.Attributes().PutInt(fmt.Sprint("n", i), int64(i))
			}
			r.Attributes().PutStr("a", "last")
		}, `"last"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ld := logs(3, func(i int, r plog.LogRecord) {
				if i == 1 {
					tt.edit(r)
				} else {
					r.Attributes().PutStr("a", "good")
				}
			})
			before, err := new(plog.ProtoMarshaler).MarshalLogs(ld)
			require.NoError(t, err)
			sink := new(consumertest.LogsSink)
			store := NewMemoryStore()
			h := start(t, testConfig(t, `
resource_attributes: []
logs: {c: {attributes: [{key: a}]}}`), store, sink)
			require.NoError(t, h.ConsumeLogs(t.Context(), ld))
			require.NoError(t, h.Shutdown(t.Context()))

			after, err := new(plog.ProtoMarshaler).MarshalLogs(sink.AllLogs()[0])
			require.NoError(t, err)
			assert.Equal(t, before, after, "the logs are passed on unchanged")
			assert.Equal(t, 2, store.Get(`["c",{},{"a":"good"}]`), "the others are counted")
			sum, _ := sumOf(t, store)
			if tt.want == "" {
				assert.Equal(t, 2, sum)
				return
			}
			assert.Equal(t, 3, sum)
			assert.Equal(t, 1, store.Get(`["c",{},{"a":`+tt.want+`}]`))
		})
	}
	evidence.Report(t, evidence.Figure{
		Rows: []int{13, 17, 66, 67, 70}, Claim: "odd records, read-only, are forwarded byte for byte, and count as documented",
		Rounds: 13, Unit: "records", Fired: 13, Counts: 38,
	})
}

// Row 10: one id in three pipelines shares one tally: each record counts once for each pipeline it passes.
func TestFault_lifecycle_same_id(t *testing.T) {
	factory := NewFactory()
	cfg := createDefaultConfig()
	set := processortest.NewNopSettings(metadata.Type)
	var pipelines []*logsProcessor
	for range 3 {
		p, err := factory.CreateLogs(t.Context(), set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		pipelines = append(pipelines, p.(*logsProcessor))
	}
	shared := pipelines[0].engine
	var wg sync.WaitGroup
	for _, p := range pipelines {
		assert.Same(t, shared, p.engine)
		wg.Go(func() {
			for range 100 {
				assert.NoError(t, p.ConsumeLogs(context.Background(), logs(5, nil)))
			}
		})
	}
	wg.Wait()
	for i, p := range pipelines {
		require.NoError(t, p.ConsumeLogs(t.Context(), logs(1, nil)), "one that ends does not end the others")
		require.NoError(t, p.Shutdown(t.Context()))
		require.NoError(t, p.Shutdown(t.Context()))
		require.ErrorIs(t, p.ConsumeLogs(t.Context(), logs(1, nil)), errNotRunning)
		assert.Equal(t, i == len(pipelines)-1, shared.book.IsClosed())
	}
	assert.Equal(t, 3*100*5+3, shared.applier.Store.Get(key))

	other := createDefaultConfig()
	p, err := factory.CreateLogs(t.Context(), set, other, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	assert.NotSame(t, shared, p.(*logsProcessor).engine, "nothing is left of the old one")
	require.NoError(t, p.Shutdown(t.Context()))
	evidence.Report(t, evidence.Figure{
		Rows: []int{10}, Claim: "one id in three pipelines: each record counts once for each pipeline it passes",
		Rounds: 3, Unit: "pipelines", Fired: 3, Counts: 3*100*5 + 3,
	})
}

func TestPropagateRefusesTheBatch(t *testing.T) {
	sink := new(consumertest.LogsSink)
	h := start(t, testConfig(t, `
error_mode: propagate
logs: {c: {conditions: ['ParseJSON(log.body)["a"] == 1']}}
queue: {queue_size: 1, on_full: reject}`), nil, sink)
	for range 3 { // more often than there are places
		err := h.ConsumeLogs(t.Context(), logs(2, nil))
		require.Error(t, err)
		assert.True(t, consumererror.IsPermanent(err))
		assert.ErrorContains(t, err, `metric "c"`)
	}
	assert.Zero(t, sink.LogRecordCount())
	assert.EqualValues(t, 6, h.number(t, "records_not_counted", "reason=rejected"))
	h.requireConserved(t)
}

// A deadline that is over is no error where there is nothing to wait for.
func TestShutdownWithNothingInFlight(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		h := start(t, createDefaultConfig().(*Config), NewMemoryStore(), consumertest.NewNop())
		require.NoError(t, h.ConsumeLogs(t.Context(), logs(1, nil)))
		assert.Eventually(t, func() bool { return h.number(t, "batches_counted") == 1 }, 5*time.Second, time.Millisecond)
		require.NoError(t, h.Shutdown(over))
	}
}

// What the configuration says of the private store must not be ignored by another.
func TestForgetAfterWithAnInjectedStore(t *testing.T) {
	for _, store := range []MetricStore{&panicsOnce{}, NewMemoryStore(), NewMemoryStore(WithForgetAfter(time.Hour))} {
		p, err := NewFactory(WithMetricStore(store)).CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), testConfig(t, "forget_after: 1m"), consumertest.NewNop())
		require.NoError(t, err)
		require.ErrorIs(t, p.Start(t.Context(), componenttest.NewNopHost()), errForgetsOtherwise)
	}
	h := start(t, testConfig(t, "forget_after: 1m"), NewMemoryStore(WithForgetAfter(time.Minute)), consumertest.NewNop())
	require.NoError(t, h.Shutdown(t.Context()))
}
