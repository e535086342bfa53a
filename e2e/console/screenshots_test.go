// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconsole"
)

// TestScreenshots draws the page for the docs into the folder that TALLY_SCREENSHOTS names; `make screenshots` runs it.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("TALLY_SCREENSHOTS")
	if folder == "" {
		t.Skip("TALLY_SCREENSHOTS names no folder")
	}
	require.NoError(t, os.MkdirAll(folder, 0o755))
	browser := openBrowser(t)
	for _, shot := range []struct {
		name          string
		width, height int64
		open          func(*testing.T) (*tallyprocessor.MemoryStore, func(round int))
		query         string
	}{
		{"wide-light", 1280, 760, madeUp, "?order=rate_10s&theme=light"},
		{"wide-dark", 1280, 760, madeUp, "?order=rate_10s&theme=dark"},
		{"narrow-light", 360, 740, madeUp, "?order=rate_10s&theme=light"},
		{"narrow-dark", 360, 740, madeUp, "?order=rate_10s&theme=dark"},
		{"grouped", 1280, 560, madeUp, "?group_by=resource.service.name&group_by=http.response.status_code&order=rate_10s&theme=light"},
		{"nginx", 1280, 640, realLog, "?order=total&theme=light"},
	} {
		t.Run(shot.name, func(t *testing.T) {
			store, add := shot.open(t)
			add(0)
			r := start(t, store, func(c *tallyconsole.Config) {
				c.SampleInterval = 100 * time.Millisecond
				c.RefreshInterval = 100 * time.Millisecond
			})
			b := newTab(t, browser, shot.width, shot.height)
			b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}))
			b.open(r, shot.query)
			for round := range rounds {
				add(round + 1)
				r.settled(t)
			}
			b.until(`document.querySelector('#rows .spark polyline')?.getAttribute('points').split(' ').length > 20`)
			var png []byte
			b.run(chromedp.CaptureScreenshot(&png))
			require.NoError(t, os.WriteFile(filepath.Join(folder, shot.name+".png"), png, 0o644)) //nolint:gosec // it is for everybody to read
			t.Logf("%d kB", len(png)/1024)
			b.clean(r)
		})
	}
}

// rounds is how often a store is counted in while its page is watched, after once before.
const rounds = 25

// madeUp is a store with made-up totals, and a metric that is at its limit.
func madeUp(*testing.T) (*tallyprocessor.MemoryStore, func(round int)) {
	shop := tallyprocessor.NewMemoryStore()
	shop.Describe(store.Description{
		Metric: "http.requests", Description: "Requests by service, route and status.", Unit: "{request}", CardinalityLimit: 34,
	})
	return shop, func(round int) {
		for i := range 40 {
			key := fmt.Sprintf(`["http.requests",{"service.name":"%s"},{"http.response.status_code":%d,"http.route":"%s"}]`,
				[]string{"checkout", "cart", "search"}[i%3], []int{200, 200, 404, 503}[i%4], []string{"/cart", "/pay", "/items/{id}", "/search", "/login"}[i%5])
			shop.Add(key, 1+(40-i)*(40-i)*(3+(round*(i+3))%7))
		}
		shop.Add(`["http.requests",{"service.name":"search"},{"otel.metric.overflow":true}]`, 900+round%5*100)
		shop.Overflowed("http.requests", `["http.requests",{"service.name":"search"},{"http.route":"/search?q=lamp"}]`, 400)
	}
}

// requestLine finds what the quickstart counts by in a line of nginx' access log.
var requestLine = regexp.MustCompile(`"([A-Z]+) (?:[^"\\]|\\.)*" (\d{3}) `)

// realLog is a store with the requests of the bundled access log, a share of them in each round.
func realLog(t *testing.T) (*tallyprocessor.MemoryStore, func(round int)) {
	text, err := os.ReadFile("../../testdata/logs/nginx-access.log")
	require.NoError(t, err)
	requests := requestLine.FindAllStringSubmatch(string(text), -1)
	nginx := tallyprocessor.NewMemoryStore()
	nginx.Describe(store.Description{Metric: "http.requests", Description: "Requests by method and status.", Unit: "{record}", CardinalityLimit: 10_000})
	return nginx, func(round int) {
		for _, r := range requests[round*len(requests)/(rounds+1) : (round+1)*len(requests)/(rounds+1)] {
			nginx.Inc(fmt.Sprintf(`["http.requests",{"service.name":"nginx"},{"http.request.method":"%s","http.response.status_code":%s}]`, r[1], r[2]))
		}
	}
}
