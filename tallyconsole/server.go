// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/logtally/tallyprocessor/internal/capability"
	"github.com/logtally/tallyprocessor/store"
)

// securityHeaders are those of every answer. What the page needs comes from this server alone, and nothing in it is
// inline.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Cache-Control":                "no-store",
}

// route is a path and what answers it.
type route struct {
	name   string // as in the telemetry
	handle func(http.ResponseWriter, *http.Request)
}

// handler is the server. It answers GET and HEAD, to those who know it by a name that is allowed, and changes nothing.
type handler struct {
	cfg         *Config
	executor    *executor
	hub         *hub
	overflows   capability.OverflowKeeper // nil = the store keeps none
	since       time.Time                 // from when on the store has kept them
	instruments *instruments
	slow        slowScrapes
	hosts       map[string]bool
	routes      map[string]route
}

// newHandler returns a handler whose answers are of store, as a samples it.
func newHandler(cfg *Config, a *executor, hub *hub, s store.MetricStore, n *instruments) *handler {
	h := &handler{cfg: cfg, executor: a, hub: hub, since: time.Now(), instruments: n, hosts: allowedHosts(cfg)}
	h.overflows, _ = s.(capability.OverflowKeeper)
	if opened := capability.InfoOf(s).Opened; !opened.IsZero() {
		h.since = opened
	}
	h.routes = map[string]route{
		"/api/v1/metrics":      {"metrics", api(h.metrics)},
		"/api/v1/totals":       {"totals", api(h.totals)},
		"/api/v1/overflow":     {"overflow", api(h.overflow)},
		"/api/v1/health":       {"health", api(h.health)},
		"/api/v1/live":         {"live", h.live},
		"/api/v1/openapi.yaml": {"openapi", asset("openapi.yaml", "application/yaml")},
		"/metrics":             {"scrape", h.scrape},
		"/":                    {"page", asset("console.html", "text/html; charset=utf-8")},
		"/console.css":         {"page", asset("console.css", "text/css; charset=utf-8")},
		"/console.svg":         {"page", asset("console.svg", "image/svg+xml")},
	}
	for _, script := range []string{"console.js", "controls.js", "table.js", "text.js"} {
		h.routes["/"+script] = route{"page", asset(script, "text/javascript; charset=utf-8")}
	}
	return h
}

// allowedHosts are those that a request may be addressed to, as canonicalHost has them.
func allowedHosts(cfg *Config) map[string]bool {
	hosts := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if host, _, err := net.SplitHostPort(cfg.Server.NetAddr.Endpoint); err == nil && host != "" {
		if address, err := netip.ParseAddr(host); err != nil || !address.IsUnspecified() {
			hosts[canonicalHost(host)] = true
		}
	}
	for _, host := range cfg.AllowedHosts {
		hosts[canonicalHost(host)] = true
	}
	return hosts
}

// canonicalHost returns a host without a port as browsers write it, without the brackets of an address and the dot at
// the end of a name.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if address, err := netip.ParseAddr(host); err == nil {
		return address.String()
	}
	return strings.ToLower(host)
}

// hostOf returns the host that a request is addressed to, as allowedHosts has it.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return canonicalHost(host)
}

// ServeHTTP checks what is the same for all routes.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range securityHeaders {
		w.Header().Set(name, value)
	}
	recorder := &recorder{ResponseWriter: w, code: http.StatusOK}
	rt, found := h.routes[r.URL.Path]
	if !found {
		rt.name = "none"
	}
	switch {
	case !h.hosts[hostOf(r)]:
		writeError(recorder, http.StatusMisdirectedRequest, "the host name of this request is not allowed",
			"a loopback address, localhost, the host of `endpoint`, or what `allowed_hosts` lists")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		recorder.Header().Set("Allow", "GET, HEAD")
		writeError(recorder, http.StatusMethodNotAllowed, "the console is read-only", "GET", "HEAD")
	case !found:
		writeError(recorder, http.StatusNotFound, "there is nothing here", h.paths()...)
	case len(r.URL.RawQuery) > maxQueryLength:
		writeError(recorder, http.StatusRequestURITooLong, "the query string is too long",
			"at most "+strconv.Itoa(maxQueryLength)+" bytes")
	default:
		rt.handle(recorder, r)
	}
	h.instruments.answered(r.Context(), rt.name, recorder.code)
}

func (h *handler) paths() []string {
	return []string{"/", "/metrics", "/api/v1/metrics", "/api/v1/totals", "/api/v1/overflow", "/api/v1/health", "/api/v1/live", "/api/v1/openapi.yaml"}
}

// recorder remembers the status code.
type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader writes the status code.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// problem is an answer to what cannot be answered.
type problem struct {
	Error   string   `json:"error"`
	Allowed []string `json:"allowed"` // what would have been
}

func writeError(w http.ResponseWriter, code int, text string, allowed ...string) {
	if allowed == nil {
		allowed = []string{}
	}
	writeJSON(w, code, problem{text, allowed})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // numbers that are no numbers; a test would fail
		code, text = http.StatusInternalServerError, []byte(`{"error":"the answer is no JSON","allowed":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // the client may have gone
}

// unixTime is nil for a time that is not known.
func unixTime(nanoseconds int64) *time.Time {
	if nanoseconds == 0 {
		return nil
	}
	t := time.Unix(0, nanoseconds).UTC()
	return &t
}
