// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"bufio"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/exposition"
)

// scrapeBuffer is how many bytes are gathered before they are sent.
const scrapeBuffer = 64 << 10

// scrape answers /metrics. It works in a place, as queries are answered, and not while a slow client reads.
func (h *handler) scrape(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, exposition.Accepted()...)
	out := &scrapeWriter{out: w, request: r, control: http.NewResponseController(w), executor: h.executor, slow: &h.slow, outside: true}
	if r.Method != http.MethodHead {
		if err := out.acquire(); err != nil {
			tooBusy(err).write(w)
			return
		}
		defer out.release()
	}
	w.Header().Set("Content-Type", string(format))
	if r.Method != http.MethodHead {
		h.writePage(out, format)
	}
}

func (h *handler) writePage(w io.Writer, format expfmt.Format) {
	s := h.executor.sampler.newest.Load()
	buffered := bufio.NewWriterSize(w, scrapeBuffer)
	page := exposition.NewWriter(buffered, format, h.cfg.CreatedTimestamps)
	up := 1.
	if s.err != nil || s.Number == 0 {
		up = 0
	}
	page.Gauge(exposition.Gauge{
		Name: "tally_console_store_up", Help: "Whether the last listing of the store was complete: 1, else 0.", Value: up,
	})
	page.Gauge(exposition.Gauge{
		Name: "tally_console_snapshot_age_seconds", Help: "Time since the totals on this page were listed.",
		Value: rounded(time.Since(s.Taken).Seconds()),
	})
	page.Families(s.families())
	if page.Close() != nil || buffered.Flush() != nil {
		panic(http.ErrAbortHandler) // the server ends the connection, so that nobody takes half of a page for a page
	}
}

// families returns the metrics that have keys, in the order of their names.
func (s *sample) families() []exposition.Family {
	var list []exposition.Family
	for _, name := range s.names() {
		if m, ok := s.Metrics[name]; ok {
			d := s.descriptions[name]
			list = append(list, exposition.Family{Metric: m, Help: d.Description, Unit: d.Unit})
		}
	}
	return list
}
