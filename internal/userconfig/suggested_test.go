// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package userconfig_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// suggested finds what an error says to write.
var suggested = regexp.MustCompile(`(?:write|such as) "([^"]*)"`)

// What an error says to write for a duration is one.
func TestSuggestedDurations(t *testing.T) {
	numbers := []any{1, -1, 1 << 62, uint64(1 << 63), 0.1, 1e-300, 1e300, -1e18, nan(), nan() * 0, 1e19, 9223372036.0, 9223372037.0}
	pieces := []string{"1", "99999999999999", "1e9", ".", "-", "+", " ", "h", "d", "min", "weeks", "s", "0", "000", "µs", "x", "inf", "nan", "0x10", "_"}
	r := rand.New(rand.NewPCG(1, 3))
	for i := range evidence.Rounds(3000, 100_000) {
		var value any
		if i < len(numbers) {
			value = numbers[i]
		} else {
			var text strings.Builder
			for range 1 + r.IntN(4) {
				text.WriteString(pieces[r.IntN(len(pieces))])
			}
			value = text.String()
		}
		err := read("processor", map[string]any{"forget_after": value})
		if err == nil {
			continue
		}
		line := firstLine(err)
		found := suggested.FindStringSubmatch(line)
		if found == nil {
			assert.Contains(t, line, "must not be negative", "%v", value)
			continue
		}
		d, err := time.ParseDuration(found[1])
		require.NoError(t, err, "%v: %s", value, line)
		assert.Positive(t, d, "%v: %s", value, line)
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

// A list that is written as one text has no spaces in its names: an item that begins with one would match nothing.
func TestListsWithSpaces(t *testing.T) {
	for name, key := range map[string]string{"processor": "resource_attributes", "redis": "endpoints", "memory": "erase_metrics", "console": "allowed_hosts"} {
		for _, text := range []string{"a, b", " a", "a ,b", "a,b\n", "a,\tb"} {
			err := read(name, map[string]any{key: text})
			require.Error(t, err, "%s: %q", name, text)
			assert.Contains(t, firstLine(err), "`"+key+"` must be a list: write `- ` before each item", "%s: %q", name, text)
		}
	}
	assert.NoError(t, read("processor", map[string]any{"resource_attributes": "a,b"}))
}
