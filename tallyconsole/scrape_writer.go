// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

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

	// maxSlowScrapes is how many pages may be with slow clients at a time. Each has a connection, its buffers and some
	// hundred series in memory.
	maxSlowScrapes = 16
)

// acquire takes a place to work in, for which it waits at most as long as an answer may take.
func (e *executor) acquire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.QueryTimeout)
	defer cancel()
	select {
	case e.semaphore <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives a place back.
func (e *executor) release() { <-e.semaphore }

// scrapeWriter hands pieces of a page to a client. Whoever makes the page has a place, which is given back while the
// client is slow. It is serial.
type scrapeWriter struct {
	out      io.Writer
	request  *http.Request
	control  *http.ResponseController
	executor *executor
	slow     *slowScrapes
	outside  bool // it has no place
}

// Write hands over a piece, and returns when there is a place to make the next.
func (p *scrapeWriter) Write(piece []byte) (int, error) {
	left := make(chan struct{})
	timer := time.AfterFunc(handOver, func() {
		defer close(left)
		p.executor.release()
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
		err = p.acquire()
	}
	return n, err
}

func (p *scrapeWriter) acquire() error {
	err := p.executor.acquire(p.request.Context())
	p.outside = err != nil
	return err
}

// release gives the place back, if there is one.
func (p *scrapeWriter) release() {
	if !p.outside {
		p.executor.release()
		p.outside = true
	}
}

// slowScrapes are the pages that wait for their clients.
type slowScrapes struct {
	// mu guards list.
	mu   sync.Mutex
	list []*scrapeWriter // the one that has waited longest first
}

// add enters a page. When there are too many, it ends the one that has waited longest.
func (s *slowScrapes) add(p *scrapeWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list = append(s.list, p); len(s.list) > maxSlowScrapes {
		// a connection that has no deadlines is ended by the client, or by Shutdown
		_ = s.list[0].control.SetWriteDeadline(time.Unix(1, 0))
		s.list = s.list[1:]
	}
}

// remove takes a page off. It is not ended any more then, so its handler may return.
func (s *slowScrapes) remove(p *scrapeWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *scrapeWriter) bool { return other == p })
}

// tooBusy says why a page was not begun.
func tooBusy(err error) *apiError {
	if errors.Is(err, context.DeadlineExceeded) {
		return newAPIError(http.StatusServiceUnavailable, "the answer takes too long", "fewer requests at a time, or a longer `query_timeout`")
	}
	return newAPIError(http.StatusServiceUnavailable, "the request has ended")
}
