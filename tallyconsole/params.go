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

// refusal is an error that the client can do something about.
type refusal struct {
	code int
	problem
}

func refuse(code int, err string, allowed ...string) *refusal {
	if allowed == nil {
		allowed = []string{}
	}
	return &refusal{code, problem{err, allowed}}
}

func (r *refusal) write(w http.ResponseWriter) { writeJSON(w, r.code, r.problem) }

// checkNames refuses parameters that nobody reads, and those that come twice.
func checkNames(values url.Values, once []string, often ...string) *refusal {
	for name, list := range values {
		if slices.Contains(often, name) {
			continue
		}
		if !slices.Contains(once, name) {
			return refuse(http.StatusBadRequest, fmt.Sprintf("there is no parameter %q", name), append(slices.Clone(once), often...)...)
		}
		if len(list) > 1 {
			return refuse(http.StatusBadRequest, fmt.Sprintf("parameter %q is there %d times", name, len(list)), name+" once")
		}
	}
	return nil
}

// parseQuery reads the query string; what is no query string is refused.
func parseQuery(r *http.Request) (url.Values, *refusal) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query string cannot be read", "name=value&name=value, percent-encoded")
	}
	return values, nil
}

// api returns what answers with the JSON that f returns.
func api(f func(*http.Request, url.Values) (any, *refusal)) func(http.ResponseWriter, *http.Request) {
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

// question is a question about totals, as it was asked.
type question struct {
	metric string
	query  query.Query
	page   page
}

// page is what a question was read from. Two questions are one if and only if their pages are equal.
type page struct {
	of     string // the parameters but these two, encoded: what must not change from page to page
	limit  int
	cursor string
}

// parseQuestion reads a question, and takes the parameters to pieces for that.
func (h *handler) parseQuestion(values url.Values) (*question, *refusal) {
	if r := checkNames(values, []string{"metric", "order", "limit", "cursor"}, "where", "group_by"); r != nil {
		return nil, r
	}
	newest := h.answerer.sampler.newest.Load()
	q := &question{metric: values.Get("metric"), page: page{cursor: values.Get("cursor")}}
	if _, ok := newest.metric(q.metric); !ok || !values.Has("metric") {
		return nil, unknownMetric(q.metric, newest)
	}
	var r *refusal
	if q.query.Limit, r = h.limit(values); r != nil {
		return nil, r
	}
	if r := readTerms(q, values); r != nil {
		return nil, r
	}
	values.Del("limit")
	values.Del("cursor")
	values.Set("order", q.query.Order.String())
	q.page.of, q.page.limit = values.Encode(), q.query.Limit
	return q, readCursor(q)
}

// readTerms reads the order, the conditions, and what to group by.
func readTerms(q *question, values url.Values) *refusal {
	if values.Has("order") {
		var err error
		if q.query.Order, err = query.ParseOrder(values.Get("order")); err != nil {
			return refuse(http.StatusBadRequest, err.Error(), query.Orders()...)
		}
	}
	if terms := len(values["where"]) + len(values["group_by"]); terms > maxQueryTerms {
		return refuse(http.StatusBadRequest, fmt.Sprintf("there are %d of where and group_by", terms),
			fmt.Sprintf("at most %d together", maxQueryTerms))
	}
	for _, text := range values["where"] {
		c, err := query.ParseCondition(text)
		if err != nil {
			return refuse(http.StatusBadRequest, "where "+err.Error(), query.ConditionForms())
		}
		q.query.Where = append(q.query.Where, c)
	}
	for _, text := range values["group_by"] {
		q.query.GroupBy = append(q.query.GroupBy, query.ParseReference(text))
	}
	return nil
}

// readCursor finds the position that the cursor stands for.
func readCursor(q *question) *refusal {
	if q.page.cursor == "" {
		return nil
	}
	position, err := query.ParseCursor(q.page.cursor, q.page.of, len(q.query.GroupBy), time.Now(), cursorLifetime)
	allowed := fmt.Sprintf("`next` of the page before, to the same question, within %s", cursorLifetime)
	switch {
	case errors.Is(err, query.ErrExpired):
		return refuse(http.StatusGone, "the cursor "+err.Error(), allowed)
	case err != nil:
		return refuse(http.StatusBadRequest, "the cursor "+err.Error(), allowed)
	}
	q.query.After = position
	return nil
}

// limit reads how many items are wanted.
func (h *handler) limit(values url.Values) (int, *refusal) {
	if !values.Has("limit") {
		return min(defaultLimit, h.cfg.MaxItems), nil
	}
	limit, err := strconv.Atoi(values.Get("limit"))
	if err != nil || limit < 1 || limit > h.cfg.MaxItems {
		return 0, refuse(http.StatusBadRequest, fmt.Sprintf("limit is %.40q", values.Get("limit")),
			fmt.Sprintf("a number from 1 to %d (`max_items`)", h.cfg.MaxItems))
	}
	return limit, nil
}

func unknownMetric(name string, newest *sample) *refusal {
	if name == "" {
		return refuse(http.StatusBadRequest, "parameter \"metric\" is missing", newest.names()...)
	}
	return refuse(http.StatusNotFound, fmt.Sprintf("there is no metric %.200q", name), newest.names()...)
}

// cannotAnswer says what is wrong with a question that was read and could not be answered.
func cannotAnswer(err error, m *table.Metric) *refusal {
	switch {
	case errors.Is(err, query.ErrField):
		return refuse(http.StatusBadRequest, err.Error(), references(m)...)
	case errors.Is(err, query.ErrTwice):
		return refuse(http.StatusBadRequest, err.Error(), "each attribute once")
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, "the answer takes too long", "a simpler question, or a longer `query_timeout`")
	default:
		return refuse(http.StatusServiceUnavailable, "the request has ended")
	}
}

// maxListed is how many names an error lists at most.
const maxListed = 100

// references are what the attributes of a metric are called in questions.
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
