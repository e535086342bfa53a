// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/needs"
)

// openBrowser starts Debian's chromium, which ends with the test. The context is for newTab.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(needs.Program(t, "chromium")), chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "no-default-browser-check", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars", "mute-audio", "disable-extensions",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, _ := chromedp.NewContext(allocator)
	require.NoError(t, chromedp.Run(ctx))
	t.Cleanup(func() { assert.NoError(t, chromedp.Cancel(ctx)) })
	return ctx
}

// tab is a page that is looked at. At its end it must have written no error to its console, and asked no other host.
type tab struct {
	t   *testing.T
	ctx context.Context

	// mu guards the fields below.
	mu     sync.Mutex
	errors []string
	hosts  map[string]bool
}

func newTab(t *testing.T, browser context.Context, width, height int64) *tab {
	t.Helper()
	ctx, _ := chromedp.NewContext(browser)
	b := &tab{t: t, ctx: ctx, hosts: map[string]bool{}}
	chromedp.ListenTarget(ctx, b.listen)
	require.NoError(t, chromedp.Run(ctx)) // the first one decides for how long the tab lives: as long as ctx
	b.run(log.Enable(), network.Enable(), emulation.SetDeviceMetricsOverride(width, height, 1, width < 500))
	t.Cleanup(func() { assert.NoError(t, chromedp.Cancel(ctx)) })
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			b.errors = append(b.errors, fmt.Sprint("console: ", e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			b.errors = append(b.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" {
			b.hosts[u.Host] = true
		}
	}
}

// clean wants no error in the console but those that have allowed in them, and no other host but that of the console.
func (b *tab) clean(r *running, allowed ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errors {
		fits := false
		for _, part := range allowed {
			fits = fits || strings.Contains(text, part)
		}
		assert.True(b.t, fits, "in the console of the browser: %s", text)
	}
	assert.Equal(b.t, map[string]bool{r.address: true}, b.hosts)
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Run(ctx, actions...))
}

// open loads the page with a query string, and waits for what it shows.
func (b *tab) open(r *running, query string) {
	b.t.Helper()
	b.run(chromedp.Navigate(r.url + "/" + query))
	b.until(`document.getElementById('state').dataset.state !== 'starting'`)
}

// js returns what an expression is.
func js[T any](b *tab, expression string) (value T) {
	b.t.Helper()
	b.run(chromedp.Evaluate(expression, &value))
	return value
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(tick) {
		if js[bool](b, "Boolean("+expression+")") {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(b.t, "waited in vain", "for %s; the page says: %s", expression, js[string](b, "document.body.innerText"))
		}
	}
}

// click clicks the first element that a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%q)", selector))
	js[any](b, fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// choose selects an option.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	js[any](b, fmt.Sprintf(`{ const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event('change', {bubbles: true})); }`, selector, value))
}

// keys types.
func (b *tab) keys(text string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(text))
}

// filter goes to the field for filters by its shortcut, and types. The driver sends the character of a key on its own,
// whatever the page has made of the key, so that one is taken out first.
func (b *tab) filter(text string) {
	b.t.Helper()
	b.keys("/")
	b.until(`document.activeElement.id === 'where'`)
	js[any](b, `document.activeElement.value = ''`)
	b.keys(text)
}

// Expressions that the tests ask for.
const (
	rowCount   = `document.querySelectorAll('#rows tr:not(.details)').length`
	firstRow   = `document.querySelector('#rows .labels')?.innerText.replace(/\s+/g, ' ')`
	firstTotal = `document.querySelector('#rows .total .value')?.textContent`
	sumTotal   = `document.getElementById('sum-total').textContent`
	search     = `location.search`
)
