// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package selfmetrics

import (
	"context"

	"github.com/logtally/tallyprocessor/internal/deadline"
)

// Exhibit is what a processor shows on the Collector's telemetry, also when it has ended: the Collector pushes its
// metrics a last time after it has shut down its components, and the last counts are in that.
type Exhibit struct {
	Instruments *Instruments
	Totals      *Totals // nil when the store is not the processor's own
}

// Freeze lets go of the store: what is shown stays as it is. It returns at the end of ctx at the latest; what a
// collection, or the store, holds up is done when that ends.
func (x *Exhibit) Freeze(ctx context.Context) (err error) {
	if x.Totals != nil {
		err = x.Totals.Wait(ctx)
	}
	_ = deadline.Within(ctx, func(context.Context) error { x.freeze(); return nil }) // if not now, then later
	return err
}

func (x *Exhibit) freeze() {
	x.Instruments.Freeze()
	if x.Totals != nil {
		_ = x.Totals.Wait(context.Background()) // which does not end
		x.Totals.Freeze()
	}
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
