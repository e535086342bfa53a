// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package exposition

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
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
	w.Families(families)
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

// TestNames: the console calls metrics and labels what the Prometheus exporter calls them, and leaves none out.
func TestNames(t *testing.T) {
	var totals []one
	for _, name := range []string{"bytes.seen", "1st", "été.count", "日本", "東京", "a.b", "a_b", "a_b_2", "tally.console"} {
		totals = append(totals, one{fmt.Sprintf(`[%q,{"aws:region":"r","1a":"x"},{"_a":1,"__tenant_id__":2}]`, name), 1})
	}
	all := metrics(totals...)
	var families []Family
	for _, name := range slices.Sorted(maps.Keys(all)) {
		families = append(families, Family{all[name], "", map[string]string{"bytes.seen": "By"}[name]})
	}
	const labels = `{attribute_tenant_id_="2",aws_region="r",key_1a="x",key_a="1"} 1`
	got := page(t, text, false, families...)
	for _, name := range []string{"bytes_seen_total", "_1st_total", "t_count_total", "total", "_2_total", "a_b_total", "a_b_3_total", "a_b_2_total", "tally_console_total"} {
		assert.Contains(t, got, "\n"+name+labels+"\n")
	}
	got = page(t, text+"; escaping=allow-utf-8", false, families...)
	for _, name := range []string{"bytes_seen_total", "_1st_total", "t_count_total", "total", "_2_total", "a_b_3_total", "a_b_2_total"} {
		assert.Contains(t, got, "\n"+name+labels+"\n")
	}
	assert.Contains(t, got, `{"a.b_total",`+labels[1:])
}

// FuzzLabels: whatever keys there are, every client can read the page, no two series have the same labels, and the sums
// are right.
func FuzzLabels(f *testing.F) {
	f.Add("a.b", "1", "a_b", "x", "m", "a.b")
	f.Add("__name__", "", "le", "\x00\xff\u2028", "", "日本")
	f.Add("a", "\"\\\n", "resource.a", "}", "1\"", "tally.up")
	f.Add("aws:region", "1", "1a", "2a", "2xx.count", "4xx.count")
	f.Add("日本", "\u202e", "_", strings.Repeat("x", 300), "a_2", "a")
	f.Fuzz(func(t *testing.T, name, value, other, second, metric, another string) {
		b := table.NewBuilder(1)
		b.Begin()
		want := map[string]float64{}
		for _, m := range []string{metric, another} {
			for i, key := range fuzzKeys(name, value, other, second, m) {
				b.Add(key, 1+i, epoch, epoch)
			}
		}
		all := b.End(epoch, true).Metrics
		var families []Family
		for _, name := range slices.Sorted(maps.Keys(all)) {
			families = append(families, Family{all[name], "", []string{"", "By"}[len(name)%2]})
			for _, n := range all[name].Values {
				want[name] += float64(n)
			}
		}
		for format, scheme := range map[expfmt.Format]model.ValidationScheme{text: model.LegacyValidation, text + "; escaping=allow-utf-8": model.UTF8Validation} {
			sums := read(t, page(t, format, false, families...), scheme)
			if len(sums) != len(want) {
				t.Fatalf("%d metrics of %d: %v", len(sums), len(want), sums)
			}
			if fmt.Sprint(sorted(sums)) != fmt.Sprint(sorted(want)) {
				t.Fatalf("%v, want %v", sums, want)
			}
		}
	})
}

// read returns the sums of the counters on a page, which has every series once.
func read(t *testing.T, page string, scheme model.ValidationScheme) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(scheme)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatalf("%v\n%s", err, page)
	}
	sums := map[string]float64{}
	for name, family := range families {
		seen := map[string]bool{}
		for _, one := range family.Metric {
			labels := fmt.Sprint(one.Label)
			if seen[labels] {
				t.Fatalf("series comes twice\n%s", page)
			}
			seen[labels] = true
			if one.Counter != nil {
				sums[name] += one.Counter.GetValue()
			}
		}
	}
	return sums
}

func sorted(m map[string]float64) []float64 { return slices.Sorted(maps.Values(m)) }

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

// TestMemoryOfAPage: 100,000 series are streamed. What is in use while they are written is far below what they would
// take.
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
		w.Families([]Family{{m, "", ""}})
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
		w.Families([]Family{{m, "", ""}})
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
