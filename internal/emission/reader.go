package emission

import (
	"context"
	"errors"
	"time"

	"github.com/logtally/tallyprocessor"
)

// ErrNotListed says that a store cannot list its totals, so that nothing can be read from it but by key.
var ErrNotListed = errors.New("store does not list its totals: it does not implement Lister")

// Reader collects from one store. It is as serial as its Emitter.
type Reader struct {
	lister    tallyprocessor.Lister
	describer tallyprocessor.Describer // nil when the store keeps no descriptions
	emitter   *Emitter
}

// NewReader returns a Reader of store. Where settings do not say since when keys are new, it is since the store was
// opened, or else since now.
func NewReader(store tallyprocessor.MetricStore, settings Settings) (*Reader, error) {
	lister, ok := store.(tallyprocessor.Lister)
	if !ok {
		return nil, ErrNotListed
	}
	if opener, ok := store.(tallyprocessor.Opener); ok && settings.Since.IsZero() {
		settings.Since = opener.Opened()
	}
	if settings.Since.IsZero() {
		settings.Since = time.Now()
	}
	describer, _ := store.(tallyprocessor.Describer)
	return &Reader{lister: lister, describer: describer, emitter: New(settings)}, nil
}

// Collect returns what the store holds now. As with Emitter.Collect, what comes with an error is to be sent.
func (r *Reader) Collect(ctx context.Context) (*Collection, error) {
	var descriptions []tallyprocessor.Description
	if r.describer != nil {
		descriptions = r.describer.Descriptions()
	}
	return r.emitter.Collect(r.lister.Totals(ctx), descriptions, time.Now())
}
