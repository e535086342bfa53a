// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// sender is the attribute of a record that says which client has sent it.
const sender = "c"

// nextServer is what a Collector sends its logs on to, by OTLP over HTTP without a queue in between: so what it has
// accepted is what the next consumer has, and it outlives the Collector.
type nextServer struct {
	*httptest.Server

	// mu guards the fields below.
	mu       sync.Mutex
	decide   func() int     // returns the status of the next answer; nil = all is well
	accepted map[string]int // records, by sender
	answers  map[int]int    // how many, by status
	partial  int64          // records that each answer says were rejected, which then counts as accepted all the same
}

func startNext(t *testing.T) *nextServer {
	s := &nextServer{accepted: map[string]int{}, answers: map[int]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *nextServer) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	request := plogotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(body)
	}
	if err != nil {
		return // the Collector was killed while it sent; nobody reads an answer
	}
	status := s.take(request.Logs())
	w.Header().Set("Content-Type", protobuf)
	w.WriteHeader(status)
	s.mu.Lock()
	partial := s.partial
	s.mu.Unlock()
	if status == http.StatusOK && partial > 0 {
		response := plogotlp.NewExportResponse()
		response.PartialSuccess().SetRejectedLogRecords(partial)
		response.PartialSuccess().SetErrorMessage("some were too old")
		if text, err := response.MarshalProto(); err == nil {
			_, _ = w.Write(text) // the Collector may be gone
		}
	}
}

func (s *nextServer) take(logs plog.Logs) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status = http.StatusOK
	if s.decide != nil {
		status = s.decide()
	}
	s.answers[status]++
	if status != http.StatusOK {
		return status
	}
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				who, _ := record.Attributes().Get(sender)
				s.accepted[who.Str()]++
			}
		}
	}
	return status
}

// with changes the server under its lock.
func (s *nextServer) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// failing makes a share of the answers errors, half of them for good.
func (s *nextServer) failing(share float64, random *rand.Rand) {
	s.with(func() {
		s.decide = func() int {
			switch {
			case random.Float64() >= share:
				return http.StatusOK
			case random.IntN(2) == 0:
				return http.StatusServiceUnavailable
			default:
				return http.StatusBadRequest
			}
		}
	})
}

// of returns what was accepted from a sender.
func (s *nextServer) of(who string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[who]
}

// sum returns what was accepted in all.
func (s *nextServer) sum() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := 0
	for _, n := range s.accepted {
		sum += n
	}
	return sum
}

// refusals returns how many answers were errors.
func (s *nextServer) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for status, count := range s.answers {
		if status != http.StatusOK {
			n += count
		}
	}
	return n
}
