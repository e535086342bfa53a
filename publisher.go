package tallyprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var errPublishPanic = errors.New("panic")

// publisher publishes keys, and ends that, on a goroutine of its own, which runs while there is something to do. An instrument is
// made under a lock of the SDK that a collection holds until its end: nobody who counts waits for that.
//
// A key is told before it is first counted. It is on the first page that is collected after the goroutine has come to it.
type publisher struct {
	published *published
	failed    func(metric int, err error) // is told of a key that is counted and cannot be shown

	// mu guards the fields below. It is held for a look at them, never while the SDK is called.
	mu      sync.Mutex
	waiting map[publishedKey]bool // what is to be done: true = publish, false = end. A key is not in it twice, so it is no larger than what is shown and counted
	idle    chan struct{}         // closed when the goroutine ends; nil = it does not run
}

type publishedKey struct {
	metric int
	text   string
}

func newPublisher(p *published, failed func(metric int, err error)) *publisher {
	return &publisher{published: p, failed: failed, waiting: map[publishedKey]bool{}}
}

// add publishes a key of metric i that is not published.
func (p *publisher) add(i int, key string) { p.change(publishedKey{i, key}, true) }

// remove ends the publication of a key of metric i.
func (p *publisher) remove(i int, key string) { p.change(publishedKey{i, key}, false) }

func (p *publisher) change(k publishedKey, shown bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, waits := p.waiting[k]; waits && before != shown {
		delete(p.waiting, k) // it stays as it is
		return
	}
	p.waiting[k] = shown
	if p.idle == nil {
		p.idle = make(chan struct{})
		go p.run(p.idle)
	}
}

// run does what waits.
func (p *publisher) run(idle chan<- struct{}) {
	defer close(idle)
	for {
		changes := p.take()
		if len(changes) == 0 {
			return
		}
		for k, shown := range changes {
			p.apply(k, shown)
		}
	}
}

// take returns what waits. With nothing it notes that the goroutine ends.
func (p *publisher) take() map[publishedKey]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changes := p.waiting
	p.waiting = map[publishedKey]bool{}
	if len(changes) == 0 {
		p.idle = nil
	}
	return changes
}

func (p *publisher) apply(k publishedKey, shown bool) {
	defer func() {
		if r := recover(); r != nil {
			p.failed(k.metric, fmt.Errorf("%w: %T", errPublishPanic, r))
		}
	}()
	if !shown {
		p.published.remove(k.metric, k.text)
		return
	}
	if err := p.published.add(k.metric, k.text); err != nil {
		p.failed(k.metric, err)
	}
}

// wait returns when all that was told is done, or ctx ends.
func (p *publisher) wait(ctx context.Context) error {
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
	select {
	case <-idle: // both were
		return nil
	default:
		return context.Cause(ctx)
	}
}
