// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logtally/tallyprocessor/tallyconsole/internal/query"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// apiError is an error that the client can do something about.
type apiError struct {
	code int
	problem
}

func newAPIError(code int, err string, allowed ...string) *apiError {
	if allowed == nil {
		allowed = []string{}
	}
	return &apiError{code, problem{err, allowed}}
}

func (r *apiError) write(w http.ResponseWriter) { writeJSON(w, r.code, r.problem) }

// checkNames refuses parameters that nobody reads, and those that come twice.
func checkNames(values url.Values, once []string, often ...string) *apiError {
	for name, list := range values {
		if slices.Contains(often, name) {
			continue
		}
		if !slices.Contains(once, name) {
			return newAPIError(http.StatusBadRequest, fmt.Sprintf("there is no parameter %q", name), append(slices.Clone(once), often...)...)
		}
		if len(list) > 1 {
			return newAPIError(http.StatusBadRequest, fmt.Sprintf("parameter %q is there %d times", name, len(list)), name+" once")
		}
	}
	return nil
}

// parseQuery reads the query string; what is no query string is refused.
func parseQuery(r *http.Request) (url.Values, *apiError) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, newAPIError(http.StatusBadRequest, "the query string cannot be read", "name=value&name=value, percent-encoded")
	}
	return values, nil
}

// api returns what answers with the JSON that f returns.
func api(f func(*http.Request, url.Values) (any, *apiError)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		var body any
		values, refused := parseQuery(r)
		if refused == nil {
			body, refused = f(r, values)
		}
		if refused != nil {
			refused.write(w)
			return
		}
		writeJSON(w, http.StatusOK, body)
	}
}

// totalsQuery is a query about totals, as it was asked.
type totalsQuery struct {
	metric string
	query  query.Query
	id     queryID
}

// queryID is what a query was read from. Two queries are one if and only if their pages are equal.
type queryID struct {
	text   string // the parameters but these two, encoded: what must not change from page to page
	limit  int
	cursor string
}

// parseTotalsQuery reads a query, and takes the parameters to pieces for that.
func (h *handler) parseTotalsQuery(values url.Values) (*totalsQuery, *apiError) {
	if r := checkNames(values, []string{"metric", "order", "limit", "cursor"}, "where", "group_by"); r != nil {
		return nil, r
	}
	newest := h.executor.sampler.newest.Load()
	q := &totalsQuery{metric: values.Get("metric"), id: queryID{cursor: values.Get("cursor")}}
	if _, ok := newest.metric(q.metric); !ok || !values.Has("metric") {
		return nil, unknownMetric(q.metric, newest)
	}
	var r *apiError
	if q.query.Limit, r = h.limit(values); r != nil {
		return nil, r
	}
	if r := readTerms(q, values); r != nil {
		return nil, r
	}
	values.Del("limit")
	values.Del("cursor")
	values.Set("order", q.query.Order.String())
	q.id.text, q.id.limit = values.Encode(), q.query.Limit
	return q, readCursor(q)
}

// readTerms reads the order, the conditions, and what to group by.
func readTerms(q *totalsQuery, values url.Values) *apiError {
	if values.Has("order") {
		var err error
		if q.query.Order, err = query.ParseOrder(values.Get("order")); err != nil {
			return newAPIError(http.StatusBadRequest, err.Error(), query.Orders()...)
		}
	}
	if terms := len(values["where"]) + len(values["group_by"]); terms > maxQueryTerms {
		return newAPIError(http.StatusBadRequest, fmt.Sprintf("there are %d of where and group_by", terms),
			fmt.Sprintf("at most %d together", maxQueryTerms))
	}
	for _, text := range values["where"] {
		c, err := query.ParseCondition(text)
		if err != nil {
			return newAPIError(http.StatusBadRequest, "where "+err.Error(), query.ConditionForms())
		}
		q.query.Where = append(q.query.Where, c)
	}
	for _, text := range values["group_by"] {
		q.query.GroupBy = append(q.query.GroupBy, query.ParseReference(text))
	}
	return nil
}

// readCursor finds the position that the cursor stands for.
func readCursor(q *totalsQuery) *apiError {
	if q.id.cursor == "" {
		return nil
	}
	position, err := query.ParseCursor(q.id.cursor, q.id.text, len(q.query.GroupBy), time.Now(), cursorLifetime)
	allowed := fmt.Sprintf("`next` of the page before, to the same query, within %s", cursorLifetime)
	switch {
	case errors.Is(err, query.ErrExpired):
		return newAPIError(http.StatusGone, "the cursor "+err.Error(), allowed)
	case err != nil:
		return newAPIError(http.StatusBadRequest, "the cursor "+err.Error(), allowed)
	}
	q.query.After = position
	return nil
}

// limit reads how many items are wanted.
func (h *handler) limit(values url.Values) (int, *apiError) {
	if !values.Has("limit") {
		return min(defaultLimit, h.cfg.MaxItems), nil
	}
	limit, err := strconv.Atoi(values.Get("limit"))
	if err != nil || limit < 1 || limit > h.cfg.MaxItems {
		return 0, newAPIError(http.StatusBadRequest, fmt.Sprintf("limit is %.40q", values.Get("limit")),
			fmt.Sprintf("a number from 1 to %d (`max_items`)", h.cfg.MaxItems))
	}
	return limit, nil
}

func unknownMetric(name string, newest *sample) *apiError {
	names := newest.names()
	names = names[:min(len(names), maxListed)]
	if name == "" {
		return newAPIError(http.StatusBadRequest, "parameter \"metric\" is missing", names...)
	}
	return newAPIError(http.StatusNotFound, fmt.Sprintf("there is no metric %.200q", name), names...)
}

// cannotAnswer says what is wrong with a query that was read and could not be answered.
func cannotAnswer(err error, m *table.Metric) *apiError {
	switch {
	case errors.Is(err, query.ErrAttribute):
		return newAPIError(http.StatusBadRequest, err.Error(), references(m)...)
	case errors.Is(err, query.ErrTwice):
		return newAPIError(http.StatusBadRequest, err.Error(), "each attribute once")
	case errors.Is(err, context.DeadlineExceeded):
		return newAPIError(http.StatusServiceUnavailable, "the answer takes too long", "a simpler query, or a longer `query_timeout`")
	default:
		return newAPIError(http.StatusServiceUnavailable, "the request has ended")
	}
}

// maxListed is how many names an error lists at most.
const maxListed = 100

// references are what the attributes of a metric are called in queries.
func references(m *table.Metric) []string {
	list := make([]string, 0, len(m.Columns))
	for i, c := range m.Columns {
		if c.Live > 0 {
			list = append(list, query.ReferenceTo(m, i).String())
		}
	}
	slices.SortFunc(list, strings.Compare)
	return list[:min(len(list), maxListed)]
}
