// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole"
)

// marked is how many rows are marked as groups with overflow keys in them.
const marked = `document.querySelectorAll('#rows .mark:not([hidden])').length`

// counter is a tally processor that counts into a store.
func counter(t *testing.T, store store.MetricStore) processor.Logs {
	t.Helper()
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(store))
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"logs": map[string]any{"http.requests": map[string]any{
			"description": "Requests.",
			"attributes":  []any{map[string]any{"key": "route", "optional": true}, map[string]any{"key": "code", "optional": true}},
		}},
	}).Unmarshal(cfg))
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host{}))
	t.Cleanup(func() { assert.NoError(t, p.Shutdown(context.Background())) })
	return p
}

// count sends n log records with a route and a code.
func count(t *testing.T, p processor.Logs, n int, route string, code int64) {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "shop")
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		attributes := records.AppendEmpty().Attributes()
		attributes.PutStr("route", route)
		attributes.PutInt("code", code)
	}
	require.NoError(t, p.ConsumeLogs(t.Context(), logs))
}

// TestPage drives the page in a real browser, on a console over a store that a processor counts into.
func TestPage(t *testing.T) {
	browser := openBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"live update": testLiveUpdate, "filter, group, order": testQuestion, "pause": testPause, "link": testLink, "theme": testTheme,
		"keyboard": testKeyboard, "hostile keys": testHostileKeys, "numbers of keys": testNumbersOfKeys, "away and back": testAwayAndBack,
		"full limits": testFullLimits, "bad link": testBadLink, "accessible": testAccessible, "phone": testPhone,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

func testLiveUpdate(t *testing.T, browser context.Context) {
	store := tallyprocessor.NewMemoryStore()
	p := counter(t, store)
	r := start(t, store)
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(`document.getElementById('empty').innerText.includes('Nothing is counted under this metric yet')`)
	count(t, p, 3, "/cart", 200)
	b.until(rowCount + ` === 1 && ` + firstTotal + ` === '3'`)
	assert.Equal(t, "code=200 route=/cart service.name=shop", strings.ReplaceAll(js[string](b, firstRow), "◆ ", ""))
	count(t, p, 2, "/cart", 200)
	count(t, p, 9, "/pay", 500)
	b.until(rowCount + ` === 2 && ` + firstTotal + ` === '9' && ` + sumTotal + ` === '14'`)
	b.until(`document.querySelector('#rows .spark polyline')?.getAttribute('points').split(' ').length > 3`)
	b.until(`Number(document.getElementById('sum-rate').textContent) > 0`)
	b.clean(r)
}

func testQuestion(t *testing.T, browser context.Context) {
	r := start(t, shop())
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(rowCount + ` === 20`)
	b.until(`document.getElementById('foot').innerText.includes('11 other keys') && document.getElementById('foot').innerText.includes('All 30 keys and 1 overflow key')`)
	b.filter("code=504\r")
	b.until(rowCount + ` === 15`)
	assert.Contains(t, js[string](b, search), "where=code%3D504")
	b.click(`#group-list button:nth-child(3)`) // resource.service.name
	b.until(rowCount + ` === 3`)
	b.until(`document.querySelector('#rows .labels')?.innerText.includes('service.name')`)
	b.choose("#order", "key")
	b.until(firstRow + `?.includes('service-0') && new URLSearchParams(location.search).get('order') === 'key'`)
	b.click(`#rows .label`) // filters by what is clicked at
	b.until(rowCount + ` === 1`)
	assert.Equal(t, []string{"code=504", `resource.service.name="service-0"`}, js[[]string](b, `new URLSearchParams(location.search).getAll('where')`))
	b.click(`#filters .chip`)
	b.click(`#filters .chip`)
	b.click(`th[data-order=total] button`)
	b.until(rowCount + ` === 3 && document.querySelector('th[aria-sort]').dataset.order === 'total'`)
	b.click(`#group-list button[aria-pressed=true]`)
	b.until(rowCount + ` === 20`)
	b.click(`#more`)
	b.until(rowCount + ` === 31 && document.getElementById('more').hidden`)
	b.clean(r)
}

func testPause(t *testing.T, browser context.Context) {
	store := tallyprocessor.NewMemoryStore()
	key := `["m",{},{"a":1}]`
	store.Add(key, 5)
	r := start(t, store)
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(firstTotal + ` === '5'`)
	b.click("#pause")
	require.Eventually(t, func() bool { return r.subscribers(t) == 0 }, patience, tick)
	b.until(`document.getElementById('state-text').textContent.startsWith('Paused')`)
	store.Add(key, 5)
	r.settled(t)
	r.settled(t)
	assert.Equal(t, "5", js[string](b, firstTotal))
	assert.Equal(t, "true", js[string](b, `document.getElementById('pause').getAttribute('aria-pressed')`))
	b.click("#pause")
	b.until(firstTotal + ` === '10'`)
	b.clean(r)
}

func testLink(t *testing.T, browser context.Context) {
	r := start(t, shop())
	link := "?metric=http.requests&where=code%3D200&where=route~r&group_by=resource.service.name&order=key&limit=50&theme=dark&paused=1"
	b := newTab(t, browser, 1280, 900)
	b.open(r, link)
	b.until(rowCount + ` === 3`)
	assert.Equal(t, "key", js[string](b, `document.getElementById('order').value`))
	assert.Equal(t, "50", js[string](b, `document.getElementById('limit').value`))
	assert.Equal(t, "dark", js[string](b, `document.documentElement.dataset.theme`))
	assert.Equal(t, 2, js[int](b, `document.querySelectorAll('#filters .chip').length`))
	assert.Equal(t, "resource.service.name", js[string](b, `document.querySelector('#group-list [aria-pressed=true]').innerText`))
	assert.Zero(t, r.subscribers(t), "paused")
	b.keys("p")
	require.Eventually(t, func() bool { return r.subscribers(t) == 1 }, patience, tick)
	want, err := url.ParseQuery(strings.TrimPrefix(link, "?"))
	require.NoError(t, err)
	want.Del("paused")
	got, err := url.ParseQuery(strings.TrimPrefix(js[string](b, search), "?"))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	b.clean(r)
}

func testTheme(t *testing.T, browser context.Context) {
	r := start(t, shop())
	b := newTab(t, browser, 1280, 900)
	ground := `getComputedStyle(document.body).backgroundColor`
	media := func(scheme string) chromedp.Action {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}})
	}
	b.run(media("light"))
	b.open(r, "")
	light := js[string](b, ground)
	b.run(media("dark"))
	dark := js[string](b, ground)
	assert.NotEqual(t, light, dark)
	b.keys("t")
	assert.Equal(t, light, js[string](b, ground), "light, whatever the system wants")
	b.keys("t")
	b.run(media("light"))
	assert.Equal(t, dark, js[string](b, ground))
	assert.Contains(t, js[string](b, search), "theme=dark")
	b.click("#theme")
	assert.Equal(t, light, js[string](b, ground))
	b.clean(r)
}

func testKeyboard(t *testing.T, browser context.Context) {
	store := shop()
	r := start(t, store)
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(rowCount + ` === 20`)
	active := `document.activeElement.id || document.activeElement.className`
	b.keys(kb.Tab)
	assert.Equal(t, "skip", js[string](b, active))
	for key, want := range map[string]string{"m": "metric", "o": "order", "g": "chip toggle"} {
		b.click("h1")
		js[any](b, `document.activeElement.blur()`)
		b.keys(key)
		assert.Equal(t, want, js[string](b, active), key)
	}
	js[any](b, `document.activeElement.blur()`)
	b.keys("j")
	b.keys("j")
	b.keys(kb.ArrowDown)
	row := `[...document.querySelectorAll('#rows button.open')].indexOf(document.activeElement)`
	assert.Equal(t, 2, js[int](b, row))
	b.keys(kb.Enter)
	b.until(`document.querySelectorAll('#rows tr.details:not([hidden])').length === 1`)
	assert.Equal(t, "true", js[string](b, `document.activeElement.getAttribute('aria-expanded')`))
	key := js[string](b, `document.querySelector('#rows tr.details:not([hidden]) code').innerText`)
	store.Add(key, 10_000) // the row moves to the top; focus and details go with it
	b.until(row + ` === 0 && document.querySelector('#rows tr.details:not([hidden])').previousSibling.contains(document.activeElement)`)
	b.keys("k")
	assert.Zero(t, js[int](b, row))
	b.keys("?")
	b.until(`document.getElementById('keys').open`)
	b.keys(kb.Escape)
	b.until(`!document.getElementById('keys').open`)
	b.filter("pt?") // letters in a field are letters
	assert.Equal(t, "pt?", js[string](b, `document.getElementById('where').value`))
	assert.Equal(t, "false", js[string](b, `document.getElementById('pause').getAttribute('aria-pressed')`))
	b.clean(r)
}

// hostile are values that try to be more than text.
var hostile = []string{
	`<img src=x onerror="window.hacked = 1">`, `"><script>window.hacked = 1</script>`, `javascript:window.hacked=1`, `{{constructor}}`,
	"line\nbreak\ttab\x00null\x1b[31mred\x7f", "\u202egnp.exe\u202c", "\u2066isolated\u2069\u200f\u200b\ufeff", "\u2028\u2029",
	"مرحبا", strings.Repeat("x", 10_000), strings.Repeat("ü ", 200), "Z\u0351\u036b\u0343\u036a\u0302\u036b", "</td></tr></table>", "__proto__", "",
	" ", "\U000e0041\U000e0042",
}

func testHostileKeys(t *testing.T, browser context.Context) {
	store := tallyprocessor.NewMemoryStore()
	cfg := map[string]any{
		"attribute_value_length_limit": 0, "key_length_limit": 0,
		"logs": map[string]any{`<b>m</b>`: map[string]any{
			"description": `<script>window.hacked = 1</script>`, "attributes": []any{map[string]any{"key": "v*"}},
		}},
	}
	factory := tallyprocessor.NewFactory(tallyprocessor.WithMetricStore(store))
	config := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(cfg).Unmarshal(config))
	p, err := factory.CreateLogs(t.Context(), processortest.NewNopSettings(factory.Type()), config, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), host{}))
	t.Cleanup(func() { assert.NoError(t, p.Shutdown(context.Background())) })
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, text := range hostile {
		records.AppendEmpty().Attributes().PutStr("v", text)
		records.AppendEmpty().Attributes().PutStr("v"+text, "name")
	}
	records.AppendEmpty().Attributes().PutInt("v", math.MaxInt64)
	records.AppendEmpty().Attributes().PutDouble("v", 200)
	require.NoError(t, p.ConsumeLogs(t.Context(), logs))
	r := start(t, store)
	b := newTab(t, browser, 1280, 900)
	b.open(r, "?limit=100")
	b.until(rowCount + fmt.Sprintf(` === %d`, 2*len(hostile)+2))
	assert.False(t, js[bool](b, `'hacked' in window`))
	assert.Zero(t, js[int](b, `document.querySelectorAll('#totals img, #totals script, #caption b').length`))
	assert.Equal(t, "<b>m</b>", js[string](b, `document.getElementById('caption').innerText`))
	text := js[string](b, `document.getElementById('rows').innerText`)
	for _, want := range []string{
		`<img src=x onerror="window.hacked = 1">`, `\u202egnp.exe\u202c`, `line\nbreak\ttab\u0000null\u001b[31mred\u007f`, "مرحبا",
		`\u2066isolated\u2069\u200f\u200b\ufeff`, `\u2028\u2029`, `\u{e0041}`, "10,000 characters", "9223372036854775807", "v=200\n",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "\u202e")
	assert.NotContains(t, text, strings.Repeat("x", 100))
	assert.LessOrEqual(t, js[int](b, `document.documentElement.scrollWidth`), 1280, "nothing breaks the table")
	assert.Less(t, js[int](b, `Math.max(...[...document.querySelectorAll('#rows tr')].map((row) => row.offsetHeight))`), 120)

	// All of it can be seen.
	index := js[int](b, `[...document.querySelectorAll('#rows tr:not(.details)')].findIndex((row) => row.innerText.includes('v=xxx'))`)
	js[any](b, fmt.Sprintf(`document.querySelectorAll('#rows button.open')[%d].click()`, index))
	b.until(`document.querySelector('#rows tr.details:not([hidden])').innerText.includes('` + strings.Repeat("x", 10_000) + `')`)
	assert.LessOrEqual(t, js[int](b, `document.documentElement.scrollWidth`), 1280)

	// Each name that the page suggests is a condition.
	for _, suggested := range js[[]string](b, `[...document.querySelectorAll('#references option')].map((option) => option.value)`) {
		code, _, answer := r.get(t, "/api/v1/totals?"+url.Values{"metric": {"<b>m</b>"}, "where": {suggested + "name"}}.Encode())
		var found struct {
			ItemCount int `json:"item_count"`
		}
		require.Equal(t, http.StatusOK, code, "%s: %s", suggested, answer)
		require.NoError(t, json.Unmarshal(answer, &found))
		assert.Positive(t, found.ItemCount, suggested)
	}

	// Each value is a filter that finds its own key.
	for _, find := range []string{`gnp.exe`, `<img`, `9223372036854775807`, `200`, `مرحبا`, `line\\nbreak`} {
		js[any](b, fmt.Sprintf(`[...document.querySelectorAll('#rows .label')].find((l) => l.querySelector('.text').innerText.includes(%s)).click()`, "`"+find+"`"))
		b.until(rowCount + ` === 1`)
		b.click(`#filters .chip`)
		b.until(rowCount + ` > 1`)
	}
	b.clean(r)
}

func testNumbersOfKeys(t *testing.T, browser context.Context) {
	store := tallyprocessor.NewMemoryStore()
	r := start(t, store)
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(`document.getElementById('empty').innerText.includes('Nothing has been counted yet')`)
	store.Inc(`["m",{},{}]`)
	b.until(rowCount + ` === 1 && document.querySelector('#rows').innerText.includes('everything')`)
	assert.True(t, js[bool](b, `document.getElementById('empty').hidden`))
	for i := range 19 {
		store.Inc(fmt.Sprintf(`["m",{},{"a":%d}]`, i))
	}
	b.until(rowCount + ` === 20 && !document.getElementById('foot').innerText.includes('other')`)
	for i := range 100_000 {
		store.Add(fmt.Sprintf(`["m",{},{"a":%d}]`, i), 1+i)
	}
	b.until(`document.getElementById('foot').innerText.includes('99,981 other keys')`)
	b.choose("#limit", "1000")
	b.until(rowCount + ` === 1000`)
	b.filter("a=99999\r")
	b.until(rowCount + ` === 1 && ` + firstTotal + ` === '100,000'`)
	b.clean(r)
}

func testFullLimits(t *testing.T, browser context.Context) {
	r := start(t, shop(), func(c *tallyconsole.Config) { c.MaxTrackedKeys = 0 })
	b := newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(`document.getElementById('notes').innerText.includes('The limit of 30 keys is full')`)
	b.click("#overflow summary")
	b.until(`document.getElementById('overflow-rows').innerText.includes('/flood')`)
	assert.Contains(t, js[string](b, `document.getElementById('overflow-rows').innerText`), "900")
	assert.Contains(t, js[string](b, `document.getElementById('overflow-since').innerText`), "Since ")
	assert.Equal(t, "30 of 30 that the metric may have, and 1 overflow key", js[string](b, `document.getElementById('sum-limit').innerText`))
	assert.Equal(t, 0, js[int](b, marked))
	b.click(`#group-list button:first-child`) // code
	b.until(rowCount + ` === 3 && ` + marked + ` === 1`)
	assert.Contains(t, js[string](b, `document.querySelector('#rows .mark:not([hidden])').closest('tr').innerText`), "none")
	b.clean(r)

	store := tallyprocessor.NewMemoryStore()
	r = start(t, store, func(c *tallyconsole.Config) { c.MaxTrackedKeys = 0; c.MaxSubscribers = 0 })
	store.Add(`["m",{},{}]`, 3)
	r.settled(t)
	b = newTab(t, browser, 1280, 900)
	b.open(r, "")
	b.until(`document.getElementById('notes').innerText.includes('More keys grow than have rates')`)
	b.until(rowCount + ` === 1`) // no stream may be open, so the page asks again and again
	store.Add(`["m",{},{}]`, 3)
	b.until(firstTotal + ` === '6'`)
	b.clean(r, "503")
}

func testBadLink(t *testing.T, browser context.Context) {
	r := start(t, shop())
	b := newTab(t, browser, 1280, 900)
	b.open(r, "?metric=http.requests&where=planet%3Dearth")
	b.until(`document.getElementById('problem').innerText.includes('resource.service.name')`)
	b.click("#filters .chip")
	b.until(rowCount + ` === 20 && document.getElementById('problem').hidden`)
	b.open(r, "?metric=%3Cimg%3E&limit=1000000")
	b.until(`document.getElementById('problem').innerText.includes('there is no metric "<img>"')`)
	b.choose("#metric", "http.requests")
	b.until(`document.getElementById('problem').innerText.includes('a number from 1 to 1000')`)
	b.choose("#limit", "10")
	b.until(rowCount + ` === 10`)
	b.clean(r, "400", "404")
}

func testPhone(t *testing.T, browser context.Context) {
	r := start(t, shop())
	b := newTab(t, browser, 360, 740)
	b.open(r, "")
	b.until(rowCount + ` === 20`)
	assert.LessOrEqual(t, js[int](b, `document.documentElement.scrollWidth`), 360)
	assert.LessOrEqual(t, js[int](b, `document.getElementById('totals').scrollWidth`), 360, "the table fits")
	assert.GreaterOrEqual(t, js[int](b, `Math.min(...[...document.querySelectorAll('button, select, input')].filter((e) => e.offsetParent).map((e) => e.offsetHeight))`), 24)
	b.clean(r)
}

// root is the folder of the project, and axePath is where make puts axe-core.
const (
	root    = "../.."
	axePath = ".tools/browser/node_modules/axe-core/axe.min.js"
)

func testAccessible(t *testing.T, browser context.Context) {
	out, err := exec.Command("make", "-s", "-C", root, axePath).CombinedOutput()
	require.NoError(t, err, "%s", out)
	axe, err := os.ReadFile(root + "/" + axePath)
	require.NoError(t, err)
	store := newFragile(shop(), -1)
	r := start(t, store)
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			b := newTab(t, browser, width, 900)
			b.open(r, "?theme="+theme+"&where=code")
			b.until(rowCount + ` > 1`)
			b.click("#rows button.open")
			b.click("#overflow summary")
			b.until(`document.getElementById('overflow-rows').children.length > 0`)
			store.after.Store(0)
			b.until(`document.getElementById('notes').innerText.includes('The store is away')`)
			b.run(chromedp.Evaluate(string(axe)+"; true", new(bool)))
			js[any](b, `void axe.run(document, {resultTypes: ['violations']}).then((r) => { window.found = r.violations.map((v) => v.impact + ' ' + v.id + ' ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join(' | ')); })`)
			b.until(`window.found`)
			for _, violation := range js[[]string](b, `window.found`) {
				assert.False(t, strings.HasPrefix(violation, "serious") || strings.HasPrefix(violation, "critical"), "%s %d: %s", theme, width, violation)
				t.Logf("%s %d: %s", theme, width, violation)
			}
			store.after.Store(-1)
			b.clean(r)
			b.run(chromedp.Navigate("about:blank"))
		}
	}
}
