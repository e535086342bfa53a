// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"

	"github.com/logtally/tallyprocessor/internal/commit"
	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/intake"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
	"github.com/logtally/tallyprocessor/store"
)

// logsProcessor is the processor in one pipeline. What it shares with the processors of the same component id in
// other pipelines is its engine.
type logsProcessor struct {
	cfg       *Config
	settings  processor.Settings
	registry  *registry
	extractor *extract.Extractor
	next      consumer.Logs

	intake  intake.Intake
	*engine // set by Start, before the intake opens
}

var _ processor.Logs = (*logsProcessor)(nil)

func newLogsProcessor(r *registry, set processor.Settings, cfg *Config, next consumer.Logs) (*logsProcessor, error) {
	x, err := cfg.extractor()
	if err != nil {
		return nil, err
	}
	set.TelemetrySettings = selfmetrics.WithoutPipeline(set.TelemetrySettings)
	return &logsProcessor{cfg: cfg, settings: set, registry: r, extractor: x, next: next}, nil
}

// Capabilities says that the logs are not changed.
func (p *logsProcessor) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start starts the workers, unless another pipeline has. What it starts ends in Shutdown, not with ctx.
func (p *logsProcessor) Start(ctx context.Context, host component.Host) error {
	e, err := p.registry.acquire(p.settings.ID, p.cfg, func() (*engine, error) {
		in := p.registry.store
		if p.cfg.Store != nil {
			var err error
			if in, err = store.Find(host, *p.cfg.Store); err != nil {
				return nil, err
			}
		}
		return startEngine(ctx, p.settings, p.registry.label, p.cfg, in, p.extractor)
	})
	if err != nil {
		return fmt.Errorf("start tally: %w", err)
	}
	p.engine = e
	p.intake.Open()
	return nil
}

// ConsumeLogs forwards logs unchanged, in this call, and counts them when the next consumer has accepted them. Its
// error is the next consumer's, but for a full queue, `error_mode: propagate`, a ctx that has ended, and a processor
// that is not running: nothing was forwarded then.
func (p *logsProcessor) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if !p.intake.Enter() {
		return errNotRunning
	}
	defer p.intake.Leave()
	records := int64(logs.LogRecordCount())
	if records == 0 {
		return p.next.ConsumeLogs(ctx, logs)
	}
	p.counts.Enter(records)
	defer p.counts.Leave(records)
	watch := selfmetrics.StartWatch()
	defer p.exhibit.Instruments.Processed(&watch)
	return p.consume(ctx, logs, records, &watch)
}

// consume is the way of a batch: reserve, extract, forward, commit. Once the next consumer has accepted the logs there
// is nothing left that can wait or fail, but for the wait that `durable` asks for.
func (p *logsProcessor) consume(ctx context.Context, logs plog.Logs, records int64, watch *selfmetrics.Stopwatch) error {
	err := p.reserve(ctx)
	switch {
	case errors.Is(err, errSkip):
		if err := p.forward(ctx, logs, records, watch); err != nil {
			return err
		}
		p.noneCounted(selfmetrics.Skipped, records)
		return nil
	case err != nil:
		p.noneCounted(selfmetrics.Rejected, records)
		return err
	}
	var batch *extract.Batch
	committed := false
	defer func() { // also when the next consumer panics
		if committed {
			return
		}
		p.pool.release()
		if batch != nil {
			batch.Release()
		}
	}()
	if batch, err = p.extractor.Extract(ctx, logs); err != nil {
		p.noneCounted(selfmetrics.Rejected, records)
		return consumererror.NewPermanent(err)
	}
	if err := p.forward(ctx, logs, records, watch); err != nil {
		return err
	}
	p.note(batch)
	if batch.Len() == 0 {
		return nil
	}
	committed = true
	return p.commit(ctx, batch, records)
}

// reserve takes a place, if the store is one that can be counted in. A store that does not take what it is given is
// dealt with as a full queue: so what nobody can confirm is not forwarded again and again.
func (p *logsProcessor) reserve(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	waited, err := p.pool.reserve(ctx)
	if waited > 0 {
		p.exhibit.Instruments.Waited(waited)
	}
	if err != nil || p.committer == nil || p.committer.Works() {
		return err
	}
	switch p.pool.policy {
	case FullReject:
		err = commit.ErrStoreFails
	case FullSkip:
		err = errSkip
	case FullBlock:
		err = p.committer.WaitUntilWorks(ctx)
	}
	if err != nil {
		p.pool.release()
	}
	return err
}

// forward hands the logs on. A next consumer that returns an error, or panics, has not accepted them.
func (p *logsProcessor) forward(ctx context.Context, logs plog.Logs, records int64, watch *selfmetrics.Stopwatch) error {
	accepted := false
	defer func() {
		if !accepted {
			p.noneCounted(selfmetrics.RefusedDownstream, records)
		}
	}()
	err := watch.Outside(func() error { return p.next.ConsumeLogs(ctx, logs) })
	accepted = err == nil
	return err
}

// commit puts the counts of a batch into its place. With `durable` it returns when they are in the store for good; the
// batch has its place as long as that takes, so when the store fails no more logs are forwarded than there are places.
func (p *logsProcessor) commit(ctx context.Context, batch *extract.Batch, records int64) error {
	if p.committer == nil {
		p.pool.commit(batch, batch.Counted())
		return nil
	}
	began := time.Now()
	p.counts.Settle(records)
	defer p.counts.Unsettle(records)
	waiter := p.pool.commitFor(batch, batch.Counted())
	defer p.pool.leave(waiter)
	err := p.pool.wait(ctx, waiter)
	if err != nil {
		err = fmt.Errorf("%w: %w", commit.ErrUnconfirmed, err)
	} else {
		err = p.committer.Wait(ctx)
	}
	if err != nil {
		p.counts.Unconfirmed(records)
		return err
	}
	p.exhibit.Instruments.Committed(time.Since(began))
	return nil
}

// note enters which records of an accepted batch are not counted, and why.
func (p *logsProcessor) note(b *extract.Batch) {
	for i, n := range b.NotCounted() {
		p.notCounted(i, selfmetrics.Condition, n.Condition, b)
		p.notCounted(i, selfmetrics.MissingAttribute, n.MissingAttribute, b)
		p.notCounted(i, selfmetrics.ConditionError, n.ConditionError, b)
		p.notCounted(i, selfmetrics.ValueError, n.ValueError, b)
	}
	p.log.Batch(b)
	if metric, err := b.Error(); err != nil {
		p.log.Failed(metric, err)
	}
}

// noneCounted enters records that no metric counts.
func (p *logsProcessor) noneCounted(r selfmetrics.Reason, records int64) {
	for i := range p.metrics {
		p.notCounted(i, r, records, nil)
	}
}

// notCounted enters records that metric i does not count. A batch, if it is known, has the details.
func (p *logsProcessor) notCounted(i int, r selfmetrics.Reason, records int64, b *extract.Batch) {
	if records > 0 {
		p.counts.NotCounted(i, r, records)
		p.log.NotCounted(i, r, records, b)
	}
}

// Shutdown refuses further logs, waits for the calls in flight and for their counts to be applied, and flushes a
// store that was injected, within the deadline of ctx and `shutdown_timeout`. It returns what it could not finish.
// Without Start, and the second time, it does nothing.
func (p *logsProcessor) Shutdown(ctx context.Context) error {
	if !p.intake.Close() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ShutdownTimeout)
	defer cancel()
	err := p.intake.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("shut down with %d calls in flight: %w", p.intake.Inside(), err)
	}
	return errors.Join(err, p.registry.release(ctx, p.cfg))
}
