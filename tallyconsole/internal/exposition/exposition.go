// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package exposition writes totals as Prometheus and OpenMetrics text. It goes from row to row: however many series
// there are, a few hundred are in memory as such at a time.
package exposition

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/logtally/tallyprocessor/internal/labels"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// defaultHelp describes a metric that has no description.
const defaultHelp = "Log records counted by tally."

// chunk is how many series are written at a time.
const chunk = 256

// Accepted are the formats that there are, the preferred one last.
func Accepted() []expfmt.Format {
	return []expfmt.Format{expfmt.NewFormat(expfmt.TypeOpenMetrics), expfmt.NewFormat(expfmt.TypeTextPlain)}
}

// Family is a metric and what it is.
type Family struct {
	Metric     *table.Metric
	Help, Unit string // empty = none
}

// Gauge is a number about the console itself.
type Gauge struct {
	Name, Help string
	Value      float64
}

// Writer writes one page. Its first error is the last thing it does.
type Writer struct {
	out     io.Writer
	format  expfmt.Format
	created bool
	scheme  model.EscapingScheme
	taken   map[string]bool // names of families as Prometheus has them
	buffer  bytes.Buffer
	err     error
}

// NewWriter returns a Writer. created adds to each series in OpenMetrics when it began.
func NewWriter(out io.Writer, format expfmt.Format, created bool) *Writer {
	return &Writer{out: out, format: format, created: created, scheme: format.ToEscapingScheme(), taken: map[string]bool{}}
}

// Gauge writes a number of the console's own. These come first, so that no metric takes their names.
func (w *Writer) Gauge(g Gauge) {
	w.taken[g.Name], w.taken[g.Name+"_total"] = true, true // OpenMetrics calls the counter x_total x
	w.encode(&dto.MetricFamily{
		Name: proto.String(g.Name), Help: proto.String(g.Help), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(g.Value)}}},
	}, false)
}

// Families writes all series of the metrics. It is called once.
func (w *Writer) Families(list []Family) {
	for i, name := range w.names(list) {
		if list[i].Metric.Live > 0 && w.err == nil {
			w.family(list[i], name)
		}
	}
}

// family writes all series of a metric.
func (w *Writer) family(f Family, name string) {
	family := &dto.MetricFamily{
		Name: proto.String(name), Help: proto.String(cmp.Or(f.Help, defaultHelp)), Type: dto.MetricType_COUNTER.Enum(),
		Metric: make([]*dto.Metric, 0, chunk),
	}
	s := newSeriesSet(f.Metric, w.scheme)
	again := false
	for row, value := range f.Metric.Values {
		if value == table.Gone || s.merged[row] {
			continue
		}
		family.Metric = append(family.Metric, w.metric(s, row, value))
		if len(family.Metric) == chunk {
			w.encode(family, again)
			again, family.Metric = true, family.Metric[:0]
		}
		if w.err != nil {
			return
		}
	}
	if len(family.Metric) > 0 {
		w.encode(family, again)
	}
}

// metric makes one of a chunk.
func (w *Writer) metric(s *seriesSet, row, value int) *dto.Metric {
	counter := &dto.Counter{Value: proto.Float64(float64(value) + s.added[row].value)}
	if start := s.start(row); w.created && start != 0 {
		counter.CreatedTimestamp = timestamppb.New(time.Unix(0, start))
	}
	m := &dto.Metric{Counter: counter}
	s.each(row, func(name *string, value string) {
		m.Label = append(m.Label, &dto.LabelPair{Name: name, Value: &value})
	})
	return m
}

// encode writes a family. Its header is left out where an earlier chunk has it.
func (w *Writer) encode(family *dto.MetricFamily, again bool) {
	if w.err != nil {
		return
	}
	w.buffer.Reset()
	var options []expfmt.EncoderOption
	if w.created {
		options = append(options, expfmt.WithCreatedLines())
	}
	if w.err = expfmt.NewEncoder(&w.buffer, w.format, options...).Encode(family); w.err != nil {
		return
	}
	text := w.buffer.Bytes()
	for again && bytes.HasPrefix(text, []byte("#")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	_, w.err = w.out.Write(text)
}

// Close ends the page.
func (w *Writer) Close() error {
	if w.err == nil && w.format.FormatType() == expfmt.TypeOpenMetrics {
		_, w.err = expfmt.FinalizeOpenMetrics(w.out)
	}
	return w.err
}

// names returns what the metrics are called: as the Prometheus exporter does it, with suffixes. Where that makes one of
// two, the name is the first one's, and the others get a number that no name has. The order of list decides.
func (w *Writer) names(list []Family) []string {
	names := make([]string, len(list))
	for number := 1; slices.Contains(names, ""); number++ {
		for i, f := range list {
			if names[i] == "" {
				names[i] = w.claim(numbered(f.Metric.Name, number), f.Unit)
			}
		}
	}
	return names
}

// numbered returns the name with a number, unless that is 1.
func numbered(name string, number int) string {
	if number == 1 {
		return name
	}
	return name + "_" + strconv.Itoa(number)
}

// claim returns the name for the client, empty when it is taken.
func (w *Writer) claim(name, unit string) string {
	shown, prometheus := labels.Total(name, unit)
	if w.taken[prometheus] {
		return ""
	}
	w.taken[prometheus] = true
	return model.EscapeName(shown, w.scheme)
}
