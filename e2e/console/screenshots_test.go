package console

import (
	"fmt"
	"os"
	"path/filepath"
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
	shop := tallyprocessor.NewMemoryStore()
	shop.Describe(store.Description{
		Metric: "http.requests", Description: "Requests by service, route and status.", Unit: "{request}", CardinalityLimit: 34,
	})
	add := func(round int) {
		for i := range 40 {
			key := fmt.Sprintf(`["http.requests",{"service.name":"%s"},{"http.response.status_code":%d,"http.route":"%s"}]`,
				[]string{"checkout", "cart", "search"}[i%3], []int{200, 200, 404, 503}[i%4], []string{"/cart", "/pay", "/items/{id}", "/search", "/login"}[i%5])
			shop.Add(key, 1+(40-i)*(40-i)*(3+(round*(i+3))%7))
		}
		shop.Add(`["http.requests",{"service.name":"search"},{"otel.metric.overflow":true}]`, 900+round%5*100)
		shop.Overflowed("http.requests", `["http.requests",{"service.name":"search"},{"http.route":"/search?q=lamp"}]`, 400)
	}
	add(0)
	r := start(t, shop, func(c *tallyconsole.Config) {
		c.SampleInterval = 100 * time.Millisecond
		c.RefreshInterval = 100 * time.Millisecond
	})
	browser := openBrowser(t)
	for _, shot := range []struct {
		name          string
		width, height int64
		query         string
	}{
		{"wide-light", 1280, 760, "?order=rate_10s&theme=light"},
		{"wide-dark", 1280, 760, "?order=rate_10s&theme=dark"},
		{"narrow-light", 360, 740, "?order=rate_10s&theme=light"},
		{"narrow-dark", 360, 740, "?order=rate_10s&theme=dark"},
		{"grouped", 1280, 560, "?group_by=resource.service.name&group_by=http.response.status_code&order=rate_10s&theme=light"},
	} {
		b := newTab(t, browser, shot.width, shot.height)
		b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}))
		b.open(r, shot.query)
		for round := range 25 {
			add(round)
			r.settled(t)
		}
		b.until(`document.querySelector('#rows .spark polyline')?.getAttribute('points').split(' ').length > 20`)
		var png []byte
		b.run(chromedp.CaptureScreenshot(&png))
		require.NoError(t, os.WriteFile(filepath.Join(folder, shot.name+".png"), png, 0o644)) //nolint:gosec // it is for everybody to read
		t.Logf("%s: %d kB", shot.name, len(png)/1024)
		b.clean(r)
	}
}
