package tallyprocessor

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"

	"github.com/logtally/tallyprocessor/internal/extract"
)

// logsProcessor is the processor in one pipeline. What it shares with the processors of the same component id in
// other pipelines is its tally.
type logsProcessor struct {
	cfg       *Config
	settings  processor.Settings
	registry  *registry
	extractor *extract.Extractor
	next      consumer.Logs

	intake intake
	tally  *tally // set by Start, before the intake opens
}

var _ processor.Logs = (*logsProcessor)(nil)

func newLogsProcessor(r *registry, set processor.Settings, cfg *Config, next consumer.Logs) (*logsProcessor, error) {
	x, err := cfg.extractor()
	if err != nil {
		return nil, err
	}
	set.TelemetrySettings = withoutPipeline(set.TelemetrySettings)
	return &logsProcessor{cfg: cfg, settings: set, registry: r, extractor: x, next: next}, nil
}

// Capabilities says that the logs are not changed.
func (p *logsProcessor) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start starts the workers, unless another pipeline has. What it starts ends in Shutdown, not with ctx.
func (p *logsProcessor) Start(ctx context.Context, host component.Host) error {
	t, err := p.registry.acquire(p.settings.ID, p.cfg, func() (*tally, error) {
		store := p.registry.store
		if p.cfg.Store != nil {
			var err error
			if store, err = FindStore(host, *p.cfg.Store); err != nil {
				return nil, err
			}
		}
		return startTally(ctx, p.settings, p.registry.label, p.cfg, store, p.extractor)
	})
	if err != nil {
		return fmt.Errorf("start tally: %w", err)
	}
	p.tally = t
	p.intake.open()
	return nil
}

// ConsumeLogs forwards logs unchanged, in this call, and counts them when the next consumer has accepted them. Its
// error is the next consumer's, but for a full queue, `error_mode: propagate`, a ctx that has ended, and a processor
// that is not running: nothing was forwarded then.
func (p *logsProcessor) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if !p.intake.enter() {
		return errNotRunning
	}
	defer p.intake.leave()
	return p.tally.consume(ctx, logs, p.extractor, p.next)
}

// Shutdown refuses further logs, waits for the calls in flight and for their counts to be applied, and flushes a
// store that was injected, within the deadline of ctx and `shutdown_timeout`. It returns what it could not finish. Without Start, and
// the second time, it does nothing.
func (p *logsProcessor) Shutdown(ctx context.Context) error {
	if !p.intake.close() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ShutdownTimeout)
	defer cancel()
	err := p.intake.wait(ctx)
	if err != nil {
		err = fmt.Errorf("shut down with %d calls in flight: %w", p.intake.inside(), err)
	}
	return errors.Join(err, p.registry.release(ctx, p.cfg))
}
