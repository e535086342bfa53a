package tallyconsole

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// behind is how many events a subscriber may be behind before it is dropped.
const behind = 3

// hub sends events to those who watch. Each view is worked out once, however many watch it.
type hub struct {
	cfg      *Config
	answerer *answerer
	dropped  atomic.Int64
	refused  atomic.Int64

	// mu guards the fields below. Nothing is worked out or sent under it.
	mu     sync.Mutex
	views  map[string]*liveView // by the id of the question
	count  int                  // subscribers
	closed bool
}

// liveView is a question that is watched.
type liveView struct {
	question    *question
	subscribers map[*subscriber]bool
	sent        *sample // what the last event was made of
}

// subscriber is one who watches.
type subscriber struct {
	events chan []byte   // texts of events; it is never closed
	ended  chan struct{} // closed when nothing more comes
	view   string
}

func newHub(cfg *Config, a *answerer) *hub {
	return &hub{cfg: cfg, answerer: a, views: map[string]*liveView{}}
}

// subscribed returns how many watch.
func (h *hub) subscribed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// subscribe returns nil when there is no room.
func (h *hub) subscribe(q *question) *subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.count >= h.cfg.MaxSubscribers {
		h.refused.Add(1)
		return nil
	}
	s := &subscriber{events: make(chan []byte, behind), ended: make(chan struct{}), view: q.id()}
	v, ok := h.views[s.view]
	if !ok {
		v = &liveView{question: q, subscribers: map[*subscriber]bool{}}
		h.views[s.view] = v
	}
	v.subscribers[s] = true
	h.count++
	return s
}

// unsubscribe ends a subscription, if it has not ended.
func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s)
}

// remove takes a subscriber off. The caller has the lock.
func (h *hub) remove(s *subscriber) {
	v, ok := h.views[s.view]
	if !ok || !v.subscribers[s] {
		return
	}
	delete(v.subscribers, s)
	if len(v.subscribers) == 0 {
		delete(h.views, s.view)
	}
	h.count--
	close(s.ended)
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

// refresh sends every view once.
func (h *hub) refresh(ctx context.Context) {
	for _, v := range h.watched() {
		text, made := h.event(ctx, v.question, v.sent)
		h.send(v, text, made)
	}
}

func (h *hub) watched() []*liveView {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*liveView, 0, len(h.views))
	for _, v := range h.views {
		list = append(list, v)
	}
	return list
}

// send hands an event to all who watch a view, and drops those who have not taken the ones before.
func (h *hub) send(v *liveView, text []byte, made *sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.sent = made
	for s := range v.subscribers {
		select {
		case s.events <- text:
		default:
			h.dropped.Add(1)
			h.remove(s)
		}
	}
}

// event returns the text of an event: `totals`, or `status` alone when nothing has changed since sent, or `problem`.
func (h *hub) event(ctx context.Context, q *question, sent *sample) ([]byte, *sample) {
	newest := h.answerer.sampler.newest.Load()
	if sent != nil && sent.Snapshot == newest.Snapshot {
		return eventText("status", h.answerer.status(newest)), newest
	}
	s, t, refused := h.answerer.answer(ctx, q)
	if refused != nil {
		return eventText("problem", refused.problem), nil
	}
	return eventText("totals", answerTotals{h.answerer.status(s), *t}), s
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
	if refused != nil {
		refused.write(w)
		return
	}
	q, refused := h.parseQuestion(values)
	if refused != nil {
		refused.write(w)
		return
	}
	first, _ := h.hub.event(r.Context(), q, nil)
	s := h.hub.subscribe(q)
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
		// A deadline for each event, in place of one for the whole stream. A server without deadlines has dropping alone.
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
