package exposition

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// The formats.
var openMetrics, text = Accepted()[0], Accepted()[1]

var epoch = time.Unix(1_700_000_000, 0)

// one is a total as a test has it.
type one struct {
	key   string
	value int
}

func metrics(totals ...one) map[string]*table.Metric {
	b := table.NewBuilder(10)
	b.Begin()
	for _, t := range totals {
		b.Add(t.key, t.value, epoch, epoch)
	}
	return b.End(epoch, true).Metrics
}

func page(t testing.TB, format expfmt.Format, created bool, families ...Family) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, format, created)
	w.Gauge(Gauge{"tally_up", "Whether it is.", 1})
	for _, f := range families {
		w.Family(f)
	}
	require.NoError(t, w.Close())
	return out.String()
}

const header = "# HELP tally_up Whether it is.\n# TYPE tally_up gauge\ntally_up 1\n"

func TestText(t *testing.T) {
	all := metrics(
		one{`["http.requests",{"service.name":"web"},{"code":200,"route":"/a\"\n"}]`, 3},
		one{`["http.requests",{"service.name":"web"},{"code":"200","route":"/a\"\n"}]`, 4}, // differs in type alone
		one{`["http.requests",{},{"code":1.5,"route":""}]`, 5},
		one{`["http.requests",{},{"code":1.5}]`, 6}, // an empty label is none
		one{`["http.requests",{"code":1},{"code":2,"code_":true}]`, 7},
		one{`["log.size",{},{}]`, 1 << 40},
		one{`["log_size",{},{}]`, 2},
		one{`["tally.up",{},{}]`, 1},
	)
	families := []Family{
		{all["http.requests"], "Requests.", "{request}"}, {all["log.size"], "", "By"}, {all["log_size"], "", "By"},
	}
	body := "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n" +
		`http_requests_total{code="200",route="/a\"\n",service_name="web"} 7` + "\n" +
		`http_requests_total{code="1.5"} 11` + "\n" +
		`http_requests_total{code="2",code_="true",resource_code="1"} 7` + "\n" +
		"# HELP log_size_bytes_total Log records counted by tally.\n# TYPE log_size_bytes_total counter\nlog_size_bytes_total 1.099511627776e+12\n" +
		"# HELP log_size_2_bytes_total Log records counted by tally.\n# TYPE log_size_2_bytes_total counter\nlog_size_2_bytes_total 2\n"
	got := page(t, text, true, families...)
	assert.Equal(t, header+body, got)
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(got))
	require.NoError(t, err)
	assert.Len(t, parsed["http_requests_total"].Metric, 3)
}

func TestOpenMetrics(t *testing.T) {
	all := metrics(one{`["http.requests",{},{"http.route":"/é"}]`, 3})
	f := Family{all["http.requests"], "Requests.", ""}
	assert.Equal(t, strings.Replace(header, "up 1", "up 1.0", 1)+"# HELP http_requests Requests.\n# TYPE http_requests counter\n"+
		`http_requests_total{http_route="/é"} 3.0`+"\n# EOF\n", page(t, openMetrics, false, f))
	created := page(t, openMetrics, true, f)
	assert.Contains(t, created, `http_requests_created{http_route="/é"} 1.7e+09`)
	utf8 := page(t, text+"; escaping=allow-utf-8", false, f)
	assert.Contains(t, utf8, `{"http.requests_total","http.route"="/é"} 3`)
}

// TestChunks: a family that is written in several goes has one header.
func TestChunks(t *testing.T) {
	for _, n := range []int{chunk - 1, chunk, chunk + 1, 3 * chunk} {
		var totals []one
		for i := range n {
			totals = append(totals, one{fmt.Sprintf(`["m",{},{"a":%d}]`, i), i + 1})
		}
		got := page(t, text, false, Family{metrics(totals...)["m"], "", ""})
		assert.Equal(t, 1, strings.Count(got, "# TYPE m_total"))
		assert.Equal(t, n, strings.Count(got, "\nm_total{"))
	}
}

func TestLargestTotal(t *testing.T) {
	got := page(t, text, false, Family{metrics(one{`["m",{},{}]`, math.MaxInt})["m"], "", ""})
	assert.Contains(t, got, "m_total 9.223372036854776e+18\n")
}

// FuzzLabels: whatever keys there are, the page can be read, and no two series have the same labels.
func FuzzLabels(f *testing.F) {
	f.Add("a.b", "1", "a_b", "x", "m")
	f.Add("__name__", "", "le", "\x00\xff\u2028", "")
	f.Add("a", "\"\\\n", "resource.a", "}", "1\"")
	f.Fuzz(func(t *testing.T, name, value, other, second, metric string) {
		b := table.NewBuilder(1)
		b.Begin()
		for _, key := range fuzzKeys(name, value, other, second, metric) {
			b.Add(key, 1, epoch, epoch)
		}
		for _, m := range b.End(epoch, true).Metrics {
			got := page(t, text, false, Family{m, "", ""})
			parser := expfmt.NewTextParser(model.LegacyValidation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(got))
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			for _, family := range families {
				seen := map[string]bool{}
				for _, one := range family.Metric {
					labels := fmt.Sprint(one.Label)
					if seen[labels] {
						t.Fatalf("series comes twice\n%s", got)
					}
					seen[labels] = true
				}
			}
		}
	})
}

// heap is a writer that looks at what is in use while it is written to.
type heap struct {
	peak   uint64
	writes int
}

func (h *heap) Write(p []byte) (int, error) {
	if h.writes++; h.writes%50 == 0 {
		h.peak = max(h.peak, inUse())
	}
	return len(p), nil
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryOfAPage: 100,000 series are streamed. What is in use while they are written is far below what they would take.
func TestMemoryOfAPage(t *testing.T) {
	var totals []one
	for i := range 100_000 {
		totals = append(totals, one{fmt.Sprintf(`["m",{"service.name":"service-%d"},{"code":%d,"user":"user-%d"}]`, i%20, 200+i%5, i), i + 1})
	}
	m := metrics(totals...)["m"]
	for _, format := range Accepted() {
		before := inUse()
		h := &heap{}
		w := NewWriter(h, format, true)
		w.Family(Family{m, "", ""})
		require.NoError(t, w.Close())
		require.Greater(t, h.writes, 100)
		t.Logf("%s: %d kB in use at most", format, (int64(h.peak)-int64(before))/1024)
		assert.Less(t, int64(h.peak)-int64(before), int64(4<<20), "of %s", format)
	}
	runtime.KeepAlive(totals)
}

func BenchmarkPage(b *testing.B) {
	var totals []one
	for i := range 100_000 {
		totals = append(totals, one{fmt.Sprintf(`["m",{"service.name":"service-%d"},{"code":%d,"user":"user-%d"}]`, i%20, 200+i%5, i), i + 1})
	}
	m := metrics(totals...)["m"]
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(io.Discard, text, false)
		w.Family(Family{m, "", ""})
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
