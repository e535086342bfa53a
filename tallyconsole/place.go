package tallyconsole

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// handOver is how long a client may take for a piece of a page before others work in the place of that page.
	handOver = 50 * time.Millisecond

	// mostSlow is how many pages may be with slow clients at a time. Each has a connection, its buffers and some hundred series in memory.
	mostSlow = 16
)

// enter takes a place to work in, for which it waits at most as long as an answer may take.
func (a *answerer) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.QueryTimeout)
	defer cancel()
	select {
	case a.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives a place back.
func (a *answerer) leave() { <-a.places }

// pageWriter hands pieces of a page to a client. Whoever makes the page has a place, which is given back while the client is slow. It is
// serial.
type pageWriter struct {
	out      io.Writer
	request  *http.Request
	control  *http.ResponseController
	answerer *answerer
	slow     *slowPages
	outside  bool // it has no place
}

// Write hands over a piece, and returns when there is a place to make the next.
func (p *pageWriter) Write(piece []byte) (int, error) {
	left := make(chan struct{})
	timer := time.AfterFunc(handOver, func() {
		defer close(left)
		p.answerer.leave()
		p.slow.add(p)
	})
	n, err := p.out.Write(piece)
	if timer.Stop() {
		return n, err
	}
	<-left
	p.slow.remove(p)
	p.outside = true
	if err == nil {
		err = p.enter()
	}
	return n, err
}

func (p *pageWriter) enter() error {
	err := p.answerer.enter(p.request.Context())
	p.outside = err != nil
	return err
}

// leave gives the place back, if there is one.
func (p *pageWriter) leave() {
	if !p.outside {
		p.answerer.leave()
		p.outside = true
	}
}

// slowPages are the pages that wait for their clients.
type slowPages struct {
	// mu guards list.
	mu   sync.Mutex
	list []*pageWriter // the one that has waited longest first
}

// add enters a page. When there are too many, it ends the one that has waited longest.
func (s *slowPages) add(p *pageWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list = append(s.list, p); len(s.list) > mostSlow {
		_ = s.list[0].control.SetWriteDeadline(time.Unix(1, 0)) // a connection that has no deadlines is ended by the client, or by Shutdown
		s.list = s.list[1:]
	}
}

// remove takes a page off. It is not ended any more then, so its handler may return.
func (s *slowPages) remove(p *pageWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *pageWriter) bool { return other == p })
}

// tooBusy says why a page was not begun.
func tooBusy(err error) *refusal {
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(http.StatusServiceUnavailable, "the answer takes too long", "fewer requests at a time, or a longer `query_timeout`")
	}
	return refuse(http.StatusServiceUnavailable, "the request has ended")
}
