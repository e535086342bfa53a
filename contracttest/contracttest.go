// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package contracttest checks that a processor which counts logs counts each record that the next consumer accepted
// exactly once: what core's receivertest.CheckConsumeContract is for receivers.
package contracttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
)

// IDAttribute is the record attribute that holds a record's unique id.
const IDAttribute = "test_id"

// senders is how many goroutines send at once, as in core's checker.
const senders = 4

// Subject is the processor to check, made anew for each scenario.
type Subject struct {
	Factory processor.Factory
	Config  component.Config // must count by IDAttribute

	// Counted returns how often a record was counted, by its id. It is called after Shutdown.
	Counted func(id string) int
	// Sum returns how many records were counted in all, whatever their id.
	Sum func() int
}

// Check runs the scenarios: the next consumer always accepts, fails retryably, fails for good, and a mix of these, each
// at random. Four senders send the given number of batches, and again what failed retryably, until it is accepted.
// Whatever happens, each id is counted as often as the next consumer has accepted it: once, or never.
func Check(t *testing.T, batches int, subject func(t *testing.T) Subject) {
	for _, s := range []struct {
		name   string
		decide func(r *rand.Rand) error
		faults []error // each must have happened
	}{
		{"always accepts", func(*rand.Rand) error { return nil }, nil},
		{"fails retryably", func(r *rand.Rand) error { return pick(r, nil, errRetryable) }, []error{errRetryable}},
		{"fails for good", func(r *rand.Rand) error { return pick(r, nil, errPermanent) }, []error{errPermanent}},
		{
			"a mix", func(r *rand.Rand) error { return pick(r, nil, errRetryable, errPermanent) },
			[]error{errRetryable, errPermanent},
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			sink := &sink{random: rand.New(rand.NewPCG(seed, 0)), decide: s.decide, accepted: map[string]int{}, fired: map[error]int{}}
			check(t, batches, subject(t), sink)
			for _, fault := range s.faults {
				assert.Positive(t, sink.fired[fault], "%v has not happened", fault)
			}
			t.Logf("accepted %d records; failed retryably %d times, for good %d times",
				len(sink.accepted), sink.fired[errRetryable], sink.fired[errPermanent])
		})
	}
}

func check(t *testing.T, batches int, subject Subject, next *sink) {
	p, err := subject.Factory.CreateLogs(t.Context(), processortest.NewNopSettings(subject.Factory.Type()), subject.Config, next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))

	var wg sync.WaitGroup
	var sent atomic.Int64
	for range senders {
		wg.Go(func() {
			for n := sent.Add(1); n <= int64(batches); n = sent.Add(1) {
				send(p, newBatch(n))
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Shutdown(context.WithoutCancel(t.Context())))

	for id, times := range next.accepted {
		assert.Equal(t, 1, times, "%s was accepted more than once: the processor has sent it again", id)
		assert.Equal(t, times, subject.Counted(id), "%s", id)
	}
	assert.Equal(t, len(next.accepted), subject.Sum(), "records counted in all")
}

// send sends a batch until it is accepted or refused for good, as a retrying client does.
func send(p consumer.Logs, logs plog.Logs) {
	for {
		err := p.ConsumeLogs(context.Background(), logs)
		if err == nil || consumererror.IsPermanent(err) {
			return
		}
	}
}

// newBatch returns batch n: one to three records, read-only.
func newBatch(n int64) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range 1 + n%3 {
		records.AppendEmpty().Attributes().PutStr(IDAttribute, fmt.Sprintf("%d-%d", n, i))
	}
	logs.MarkReadOnly()
	return logs
}

var (
	errRetryable = errors.New("retryable error")
	errPermanent = errors.New("permanent error")
)

func pick(r *rand.Rand, answers ...error) error { return answers[r.IntN(len(answers))] }

// sink is a next consumer that decides by chance, and remembers.
type sink struct {
	decide func(*rand.Rand) error

	// mu guards the fields below.
	mu       sync.Mutex
	random   *rand.Rand
	accepted map[string]int // by id
	fired    map[error]int
}

func (*sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (s *sink) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.decide(s.random); err != nil {
		s.fired[err]++
		if errors.Is(err, errPermanent) {
			return consumererror.NewPermanent(err)
		}
		return err
	}
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				id, _ := record.Attributes().Get(IDAttribute)
				s.accepted[id.Str()]++
			}
		}
	}
	return nil
}
