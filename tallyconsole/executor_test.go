// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryQuestionHasItsOwnAnswer: questions that differ in anything get different answers, from one snapshot and over
// live streams.
func TestEveryQuestionHasItsOwnAnswer(t *testing.T) {
	store := newStepped()
	store.Store = shop()
	r := start(t, store)
	questions := map[string]func(totalsResponse) bool{}
	for i := range 10 {
		want := []int{100 - 3*i, 99 - 3*i, 98 - 3*i}
		for j := range 3 {
			own := func(a totalsResponse) bool { return a.Sum.Total == want[j] }
			questions[fmt.Sprintf("where=route=/r/%d", 3*i+j)] = own
			questions[fmt.Sprintf("where=route=\"/r/%d\"", 3*i+j)] = own
		}
	}
	all := 30*100 - 29*30/2 + 1000
	for question, sum := range map[string]int{
		"where=code=200": 1290, "where=code=504": 1275, "where=code!=200": all - 1290, "where=code!=504": all - 1275,
		"where=code": 2565, "where=!code": 1000, "where=code~50": 1275, "where=code=\"200\"": 0,
	} {
		questions[question] = func(a totalsResponse) bool { return a.Sum.Total == sum }
	}
	for limit := 1; limit < 20; limit++ {
		questions[fmt.Sprintf("limit=%d", limit)] = func(a totalsResponse) bool { return len(a.Items) == limit }
	}
	streams := map[string]*events{}
	for question := range questions {
		name, value, _ := strings.Cut(question, "=")
		streams[question] = r.live(t, url.Values{"metric": {"http.requests"}, name: {value}}.Encode())
	}
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for question, own := range questions {
				assert.True(t, own(ask[totalsResponse](t, r, totalsPath(question))), question)
			}
		})
	}
	clients.Wait()
	store.Add(`["http.requests",{"service.name":"service-0"},{"other":1}]`, 0)
	store.step(t, r)
	for question, own := range questions {
		assert.True(t, own(streams[question].at(t, 2)), question)
	}
	require.Len(t, r.hub.watched(), len(questions))
}
