// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// maxPending is how many events a subscriber may be behind before it is dropped.
const maxPending = 3

// hub sends events to those who watch. Each query is worked out once a snapshot, however many watch it.
type hub struct {
	cfg      *Config
	executor *executor
	dropped  atomic.Int64
	refused  atomic.Int64

	// mu guards the fields below. Nothing is worked out or sent under it.
	mu     sync.Mutex
	views  map[queryID]*liveView
	count  int // subscribers
	closed bool
}

// liveView is a query that is watched.
type liveView struct {
	query       *totalsQuery
	subscribers map[*subscriber]bool
}

// subscriber is one who watches.
type subscriber struct {
	events chan []byte     // texts of events; it is never closed
	ended  chan struct{}   // closed when nothing more comes
	id     queryID         // what was asked
	has    *table.Snapshot // that the totals which were sent last are of; nil = none were. Only refresh changes it
}

func newHub(cfg *Config, a *executor) *hub {
	return &hub{cfg: cfg, executor: a, views: map[queryID]*liveView{}}
}

// subscribed returns how many watch.
func (h *hub) subscribed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// subscribe returns nil when there is no room. The subscriber has the totals of a snapshot already, or of none.
func (h *hub) subscribe(q *totalsQuery, has *table.Snapshot) *subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.count >= h.cfg.MaxSubscribers {
		h.refused.Add(1)
		return nil
	}
	s := &subscriber{events: make(chan []byte, maxPending), ended: make(chan struct{}), id: q.id, has: has}
	v, ok := h.views[s.id]
	if !ok {
		v = &liveView{query: q, subscribers: map[*subscriber]bool{}}
		h.views[s.id] = v
	}
	v.subscribers[s] = true
	h.count++
	return s
}

// unsubscribe ends a subscription, and says whether it had not ended before.
func (h *hub) unsubscribe(s *subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.remove(s)
}

// remove takes a subscriber off. The caller has the lock.
func (h *hub) remove(s *subscriber) bool {
	v, ok := h.views[s.id]
	if !ok || !v.subscribers[s] {
		return false
	}
	delete(v.subscribers, s)
	if len(v.subscribers) == 0 {
		delete(h.views, s.id)
	}
	h.count--
	close(s.ended)
	return true
}

// close ends all subscriptions, and takes no more.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, v := range h.views {
		for s := range v.subscribers {
			h.remove(s)
		}
	}
}

// run sends events until ctx ends.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(h.cfg.RefreshInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.refresh(ctx)
		}
	}
}

// refresh sends an event to everybody.
func (h *hub) refresh(ctx context.Context) {
	for q, who := range h.watched() {
		newest := h.executor.sampler.newest.Load() // after who was listed: nobody has anything newer
		var full []byte
		of := newest.Snapshot
		if slices.ContainsFunc(who, func(s *subscriber) bool { return s.has != newest.Snapshot }) {
			full, of = h.totals(ctx, newest, q)
		}
		status := eventText("status", h.executor.status(newest))
		for _, s := range who {
			if s.has == newest.Snapshot {
				h.send(s, status)
				continue
			}
			s.has = of
			h.send(s, full)
		}
	}
}

// watched returns all queries that are watched, and by whom.
func (h *hub) watched() map[*totalsQuery][]*subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[*totalsQuery][]*subscriber, len(h.views))
	for _, v := range h.views {
		all[v.query] = slices.Collect(maps.Keys(v.subscribers))
	}
	return all
}

// send hands an event to a subscriber, and drops one who has not taken those before.
func (h *hub) send(s *subscriber, text []byte) {
	select {
	case s.events <- text:
	default:
		if h.unsubscribe(s) {
			h.dropped.Add(1)
		}
	}
}

// totals returns the text of an event, `totals` or `problem`, and the snapshot whose totals are in it.
func (h *hub) totals(ctx context.Context, s *sample, q *totalsQuery) ([]byte, *table.Snapshot) {
	t, refused := h.executor.execute(ctx, s, q)
	if refused != nil {
		return eventText("problem", refused.problem), nil
	}
	return eventText("totals", totalsResponse{h.executor.status(s), *t}), s.Snapshot
}

// eventText writes an event as text/event-stream has it. JSON has no line breaks.
func eventText(name string, body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		return nil // see writeJSON
	}
	return append(append([]byte("event: "+name+"\ndata: "), text...), "\n\n"...)
}

// live answers /api/v1/live.
func (h *handler) live(w http.ResponseWriter, r *http.Request) {
	values, refused := parseQuery(r)
	var q *totalsQuery
	if refused == nil {
		q, refused = h.parseTotalsQuery(values)
	}
	if refused != nil {
		refused.write(w)
		return
	}
	first, of := h.hub.totals(r.Context(), h.executor.sampler.newest.Load(), q)
	s := h.hub.subscribe(q, of)
	if s == nil {
		w.Header().Set("Retry-After", "10")
		writeError(w, http.StatusServiceUnavailable, "too many live streams are open",
			"at most "+strconv.Itoa(h.cfg.MaxSubscribers)+" (`max_subscribers`)")
		return
	}
	defer h.hub.unsubscribe(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	h.stream(w, r, s, first)
}

// stream writes events until the client has gone or is dropped.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, s *subscriber, first []byte) {
	control := http.NewResponseController(w)
	write := func(text []byte) bool {
		// A deadline for each event, in place of one for the whole stream. A server without deadlines has dropping
		// alone.
		_ = control.SetWriteDeadline(time.Now().Add(h.cfg.Server.WriteTimeout))
		if _, err := w.Write(text); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if !write(first) {
		return
	}
	for {
		select {
		case text := <-s.events:
			if !write(text) {
				return
			}
		case <-s.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}
