package selfmetrics

import "context"

// Exhibit is what a processor shows on the Collector's telemetry, also when it has ended: the Collector pushes its metrics a last time
// after it has shut down its components, and the last counts are in that.
type Exhibit struct {
	Instruments *Instruments
	Totals      *Totals // nil when the store is not the processor's own
}

// Freeze lets go of the store: what is shown stays as it is. It returns at the end of ctx at the latest; what a collection holds up is
// done when that ends.
func (x *Exhibit) Freeze(ctx context.Context) error {
	x.Instruments.Freeze()
	if x.Totals == nil {
		return nil
	}
	err := x.Totals.Wait(ctx)
	if err == nil {
		x.Totals.Freeze()
		return nil
	}
	go func() {
		_ = x.Totals.Wait(context.Background()) // which does not end
		x.Totals.Freeze()
	}()
	return err
}

// Withdraw takes everything off the telemetry.
func (x *Exhibit) Withdraw() error {
	if x.Instruments != nil {
		x.Instruments.Stop()
	}
	if x.Totals == nil {
		return nil
	}
	return x.Totals.Stop()
}
