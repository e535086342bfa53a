package extract

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logtally/tallyprocessor/internal/fold"
	"github.com/logtally/tallyprocessor/internal/identity"
)

// chooser makes settings and logs of random choices.
type chooser struct {
	*rand.Rand
	conditions []Condition
	length     Expression
}

// choices are bytes that a fuzzer can vary, a choice each, and behind them numbers from a seed.
type choices struct {
	bytes []byte
	then  rand.Source
}

func (c *choices) Uint64() uint64 {
	if len(c.bytes) == 0 {
		return c.then.Uint64()
	}
	next := uint64(c.bytes[0]) * 0x0101010101010101
	c.bytes = c.bytes[1:]
	return next
}

func newChooser(t testing.TB) *chooser {
	t.Helper()
	parser, err := NewParser(componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	length, err := parser.Expression(`Len(severity_text)`)
	require.NoError(t, err)
	return &chooser{
		length: length,
		conditions: conditions(
			t,
			`severity_number >= SEVERITY_NUMBER_WARN`, `severity_number < 9`, `severity_text == "INFO"`, `severity_text != "INFO"`,
			`attributes["a"] == "x"`, `attributes["status"] >= 7`, `attributes["b"] != nil`, `resource.attributes["zone"] == "x"`,
			`Len(severity_text) > 2`, `attributes["a"] == "x" or severity_number > 9`, `ParseJSON(body)["a"] == 1`,
		),
	}
}

// seeded makes the choices those of a seed, and of bytes before it.
func (c *chooser) seeded(seed uint64, bytes []byte) *chooser {
	return &chooser{Rand: rand.New(&choices{bytes, rand.NewPCG(seed, 0)}), conditions: c.conditions, length: c.length}
}

func (c *chooser) oneIn(n int) bool { return c.IntN(n) == 0 }

func one[T any](c *chooser, of ...T) T { return of[c.IntN(len(of))] }

// Keys before and behind the flag of an overflow key, one that is a part of another and the empty one.
var chosenKeys = []string{"a", "b", "otel.metric", "status", "zone", ""}

// Texts that are short and long, that cutting leaves alike, whose characters a cut meets at any byte, and invalid ones.
var chosenTexts = []string{
	"", "x", "y", "NaN", "+Inf", "7", "true", "xxxx", "xxxxx", "xxxxxy", "€", "€€", "aé€", "a€€", "\xff", "\xff\xff\xff\xff\xff",
	"\xe2\x82", "abc\xe2\x82\xac", "\ufffd", "exactly sixteen!", "one more than that", strings.Repeat("€", 86), strings.Repeat("n", 256),
	strings.Repeat("n", 257),
}

func (c *chooser) text() string {
	if c.oneIn(200) {
		return strings.Repeat("long", 3300+c.IntN(2)) // too long for any key, uncut
	}
	return one(c, chosenTexts...)
}

func (c *chooser) settings() Settings {
	s := Settings{
		Metrics:          make([]Metric, 1+c.IntN(5)),
		ValueLengthLimit: one(c, 0, 1, 4, 256),
		KeyLengthLimit:   one(c, 0, 8, 4096),
		StopOnError:      c.oneIn(4),
	}
	if c.oneIn(2) {
		s.ResourceAttributes = slices.Clone(chosenKeys[:c.IntN(len(chosenKeys)+1)])
	}
	for i := range s.Metrics {
		s.Metrics[i] = c.metric(fmt.Sprint("metric ", i))
	}
	return s
}

func (c *chooser) metric(name string) Metric {
	m := Metric{Name: name}
	for _, k := range c.Perm(len(chosenKeys))[:c.IntN(5)] {
		m.Attributes = append(m.Attributes, c.attribute(chosenKeys[k]))
	}
	if !c.oneIn(3) {
		for range 1 + c.IntN(3)*c.IntN(2) {
			m.Conditions = append(m.Conditions, one(c, c.conditions...))
		}
	}
	switch c.IntN(12) {
	case 0:
		m.Attributes = append(m.Attributes, Attribute{Key: "s*"}) // not plain, but beside metrics that are
	case 1:
		m.Amount.Expression = c.length
	case 2, 3, 4:
		m.Amount.Bytes = true
	}
	return m
}

func (c *chooser) attribute(key string) Attribute {
	a := Attribute{Key: key, KeepOnOverflow: c.oneIn(2)}
	switch c.IntN(4) {
	case 0, 1:
		a.Optional = true
	case 2:
		fallback := one(
			c, identity.StringValue(c.text()), identity.IntValue(7), identity.DoubleValue(7), identity.DoubleValue(0), identity.BoolValue(true),
		)
		a.Default = &fallback
	}
	return a
}

// value sets a value of any type. It takes few of each, so that records have values in common.
func (c *chooser) value(v pcommon.Value) {
	switch c.IntN(12) {
	case 0:
		v.SetInt(one(c, 0, 1, 7, -7, int64(math.Float64bits(7)), math.MaxInt64, math.MinInt64))
	case 1:
		v.SetDouble(one(c, 0, math.Copysign(0, -1), 1, 7, 7.5, math.NaN(), -math.NaN(), math.Inf(1), math.Inf(-1)))
	case 2:
		v.SetBool(c.oneIn(2))
	case 3:
		v.SetEmptyBytes().FromRaw([]byte(c.text()))
	case 4:
		v.SetEmptyMap().PutStr("a", c.text())
	case 5:
		v.SetEmptySlice().AppendEmpty().SetStr(c.text())
	case 6: // empty
	default:
		v.SetStr(c.text())
	}
}

func (c *chooser) attributes(m pcommon.Map, oneIn int) {
	for _, k := range c.Perm(len(chosenKeys)) {
		if c.oneIn(oneIn) {
			c.value(m.PutEmpty(chosenKeys[k]))
		}
	}
}

// The numbers of records in a scope around those where groups of 64 end.
var chosenSizes = []int{0, 1, 63, 64, 65, 128, 129}

func (c *chooser) logs() plog.Logs {
	ld := plog.NewLogs()
	for range c.IntN(4) {
		rl := ld.ResourceLogs().AppendEmpty()
		c.attributes(rl.Resource().Attributes(), 4)
		for range c.IntN(4) {
			sl := rl.ScopeLogs().AppendEmpty()
			c.attributes(sl.Scope().Attributes(), 4)
			size := one(c, chosenSizes...)
			if c.oneIn(3) {
				size = c.IntN(201)
			}
			density := 1 + c.IntN(4) // at 1 every record has every attribute
			for range size {
				r := sl.LogRecords().AppendEmpty()
				c.attributes(r.Attributes(), density)
				r.SetSeverityNumber(plog.SeverityNumber(c.IntN(25)))
				r.SetSeverityText(one(c, "", "INFO", "WARN", "E"))
				r.Body().SetStr(`{"a":1}`)
				if c.oneIn(500) {
					r.Body().SetStr("no JSON")
				}
			}
		}
	}
	ld.MarkReadOnly()
	return ld
}

// plainWay returns an Extractor that makes an identity of each record, and leaves each condition to OTTL.
func plainWay(s Settings) *Extractor {
	s.Metrics = slices.Clone(s.Metrics)
	for i := range s.Metrics {
		s.Metrics[i].Conditions = slices.Clone(s.Metrics[i].Conditions)
		for k := range s.Metrics[i].Conditions {
			s.Metrics[i].Conditions[k].plain = nil
		}
	}
	x := New(s)
	x.oneByOne = true
	for i := range x.metrics {
		x.metrics[i].plain, x.metrics[i].byLength = false, false
	}
	return x
}

// seriesText is what tells series apart for whoever counts them.
type seriesText struct {
	metric        int
	key, overflow string
	tooLong       bool
}

type seriesSums struct {
	series int // different bytes may be one text, for example if they are not valid UTF-8
	fold.Sums
}

// presence is what Batch.Presence yields.
type presence struct {
	attribute int
	present   bool
}

// outcome is all that a batch says but for the order of the series.
type outcome struct {
	err        string // of Extract; then there is nothing else
	series     map[seriesText]seriesSums
	length     int
	resources  int
	counted    []int64
	notCounted []NotCounted
	presence   [][]presence
	errMetric  int
	firstError string // of a condition or an expression
	cutValues  int64
}

// outcomeOf extracts logs and releases the batch.
func outcomeOf(t *testing.T, x *Extractor, ld plog.Logs) outcome {
	t.Helper()
	b, err := x.Extract(t.Context(), ld)
	if err != nil {
		assert.Nil(t, b)
		return outcome{err: err.Error()}
	}
	defer b.Release()
	o := outcome{
		series: map[seriesText]seriesSums{}, length: b.Len(), resources: b.Resources(),
		counted: slices.Clone(b.Counted()), notCounted: slices.Clone(b.NotCounted()),
	}
	records := make([]int64, len(x.metrics))
	for i := range b.Len() {
		s := b.Series(i)
		text := seriesText{metric: s.Metric, overflow: string(b.AppendOverflowKey(nil, i)), tooLong: s.TooLong}
		if !s.TooLong {
			text.key = string(b.AppendKey(nil, i))
		}
		sums := o.series[text]
		o.series[text] = seriesSums{sums.series + 1, fold.Sums{Records: sums.Records + s.Records, Amount: sums.Amount + s.Amount}}
		records[s.Metric] += s.Records
	}
	assert.Equal(t, records, o.counted)
	for i := range x.metrics {
		var list []presence
		for n, present := range b.Presence(i) {
			list = append(list, presence{n, present})
		}
		o.presence = append(o.presence, list)
	}
	if metric, err := b.Error(); err != nil {
		o.errMetric, o.firstError = metric, err.Error()
	}
	o.cutValues = b.CutValues()
	return o
}

// checkWays has one Extractor go the fast way through several logs, a Batch behind another, and for each a new Extractor
// the plain way. It returns the settings, the logs and what they come to.
func checkWays(t *testing.T, c *chooser) (s Settings, logs []plog.Logs, outcomes []outcome) {
	t.Helper()
	s = c.settings()
	fast := New(s)
	for n := range 3 {
		ld := c.logs()
		want := outcomeOf(t, plainWay(s), ld)
		require.Equal(t, want, outcomeOf(t, fast, ld), "logs %d, settings %+v", n, s)
		logs, outcomes = append(logs, ld), append(outcomes, want)
	}
	return s, logs, outcomes
}

// The fast way counts what the plain way counts, whatever the settings and the logs, and nothing of a batch is left in
// the next one.
func TestFastWayIsThePlainWay(t *testing.T) {
	choose := newChooser(t)
	seen := map[string]int{}
	for seed := range uint64(150) {
		s, logs, outcomes := checkSeed(t, choose, seed)
		for n := range outcomes {
			noteSeen(seen, s, logs[n], outcomes[n])
		}
		if t.Failed() {
			return
		}
	}
	for _, size := range chosenSizes {
		assert.NotZero(t, seen[fmt.Sprint("size ", size)], size)
	}
	for _, what := range []string{"plain", "not plain", "byLength", "unambiguous", "ambiguous", "error", "first error", "too long", "cut", "condition", "missing", "absent"} {
		assert.NotZero(t, seen[what], what)
	}
}

func checkSeed(t *testing.T, choose *chooser, seed uint64) (Settings, []plog.Logs, []outcome) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	return checkWays(t, choose.seeded(seed, nil))
}

// noteSeen notes what a case is an example of.
func noteSeen(seen map[string]int, s Settings, ld plog.Logs, o outcome) {
	note := func(what string, is bool) {
		if is {
			seen[what]++
		}
	}
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			seen[fmt.Sprint("size ", sl.LogRecords().Len())]++
		}
	}
	for _, m := range New(s).metrics {
		note("plain", m.plain && !m.byLength)
		note("not plain", !m.plain)
		note("byLength", m.byLength)
		note("unambiguous", m.plain && m.unambiguous && len(m.attributes) > 1)
		note("ambiguous", m.plain && !m.unambiguous && len(m.attributes) > 1)
	}
	note("error", o.err != "")
	note("first error", o.firstError != "")
	note("cut", o.cutValues > 0)
	for text := range o.series {
		note("too long", text.tooLong)
	}
	for _, n := range o.notCounted {
		note("condition", n.Condition > 0)
		note("missing", n.MissingAttribute > 0)
	}
	for _, list := range o.presence {
		note("absent", slices.ContainsFunc(list, func(p presence) bool { return !p.present }))
	}
}

// FuzzPlain is TestFastWayIsThePlainWay with choices of the fuzzer's.
func FuzzPlain(f *testing.F) {
	choose := newChooser(f)
	for seed := range uint64(20) {
		f.Add(seed, []byte(nil))
		f.Add(seed, []byte("\x00\x10\x20\x40\x80\xa0\xc0\xe0\xff"))
	}
	f.Fuzz(func(t *testing.T, seed uint64, bytes []byte) {
		checkWays(t, choose.seeded(seed, bytes))
	})
}

// Nothing of a batch that an error has ended is left in the next one.
func TestNothingIsLeftOfAFailedBatch(t *testing.T) {
	x := New(Settings{StopOnError: true, ResourceAttributes: []string{}, Metrics: []Metric{
		{Name: "fine", Attributes: []Attribute{{Key: "x"}}},
		{Name: "fails", Conditions: conditions(t, `ParseJSON(body)["a"] == 1`)},
	}})
	failing := plog.NewLogs()
	add(failing, nil, nil, attrs{"x": "of the failed batch"}).Body().SetStr("no JSON")
	failing.MarkReadOnly()
	pooled := newBatch(x, fold.NewTable(), fold.NewTable())
	x.batches.New = func() any { return pooled } // the same one, also if the pool drops it
	_, err := x.Extract(t.Context(), failing)
	require.Error(t, err)

	ld := plog.NewLogs()
	add(ld, nil, nil, attrs{"x": "y"}).Body().SetStr(`{"a":1}`)
	got, notCounted := counts(t, x, ld)
	assert.Equal(t, map[string]int64{`["fine",{},{"x":"y"}]`: 1, `["fails",{},{}]`: 1}, got)
	assert.Equal(t, make([]NotCounted, 2), notCounted)
}

// A Batch keeps nothing of the logs, neither where it is used nor in memory that it has in reserve, be it that Extract
// was through or that an error ended it.
func TestABatchKeepsNothingOfTheLogs(t *testing.T) {
	for name, stop := range map[string]bool{"through": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			x := New(Settings{StopOnError: stop, Metrics: []Metric{
				{Name: "plain", Attributes: []Attribute{{Key: "record"}, {Key: "scope"}, {Key: "resource"}, {Key: "none", Optional: true}}},
				{Name: "bytes", Attributes: []Attribute{{Key: "record"}}, Amount: Amount{Bytes: true}},
				{Name: "glob", Attributes: []Attribute{{Key: "rec*"}}},
				{Name: "fails", Conditions: conditions(t, `ParseJSON(body)["a"] == 1`)},
			}})
			b := newBatch(x, fold.NewTable(), fold.NewTable())
			x.batches.New = func() any { return b }
			for _, size := range []int{200, 3} { // the second leaves lanes and rows of the first unused
				ld := plog.NewLogs()
				rl := ld.ResourceLogs().AppendEmpty()
				rl.Resource().Attributes().PutStr("resource", "kept")
				sl := rl.ScopeLogs().AppendEmpty()
				sl.Scope().Attributes().PutStr("scope", "kept")
				for i := range size {
					r := sl.LogRecords().AppendEmpty()
					r.Attributes().PutStr("record", fmt.Sprint("kept ", i))
					r.Body().SetStr(`{"a":1}`)
				}
				sl.LogRecords().At(size - 1).Body().SetStr("no JSON")
				ld.MarkReadOnly()
				_, err := x.Extract(t.Context(), ld)
				assert.Equal(t, stop, err != nil)

				assert.Zero(t, b.lanes.rows.Len())
				for i := range b.lanes.records {
					assert.Zero(t, b.lanes.records[i], "record %d", i)
				}
				for i := range b.lanes.columns {
					c := &b.lanes.columns[i]
					assert.Zero(t, c.Values, c.key)
					assert.Zero(t, c.outer.Values, c.key)
				}
				assert.Empty(t, textsIn(reflect.ValueOf(b.lanes.rows)), "rows")
				assert.Empty(t, textsIn(reflect.ValueOf(b.lanes.columns), x.columns...), "columns")
				for _, a := range b.selected[:cap(b.selected)] {
					assert.Zero(t, a)
				}
				for _, n := range b.named[:cap(b.named)] {
					assert.Zero(t, n.name)
				}
				if !stop {
					b.Release()
				}
			}
		})
	}
}

// textsIn returns the strings that v holds, up to the capacity of its slices, without the empty one and those expected.
func textsIn(v reflect.Value, expected ...string) (texts []string) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); s != "" && !slices.Contains(expected, s) {
			texts = append(texts, s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			texts = textsIn(v.Elem(), expected...)
		}
	case reflect.Slice:
		v = v.Slice(0, v.Cap())
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			texts = append(texts, textsIn(v.Index(i), expected...)...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			texts = append(texts, textsIn(v.Field(i), expected...)...)
		}
	}
	return texts
}
