// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"encoding"
	"fmt"
	"strings"
)

// Temporality is the word of a configuration for the aggregation temporality.
type Temporality string

// The temporalities.
const (
	Cumulative Temporality = "cumulative"
	Delta      Temporality = "delta"
)

var _ encoding.TextUnmarshaler = (*Temporality)(nil)

// UnmarshalText accepts the two words in any case.
func (t *Temporality) UnmarshalText(text []byte) error {
	switch word := Temporality(strings.ToLower(string(text))); word {
	case Cumulative, Delta:
		*t = word
		return nil
	}
	return fmt.Errorf("unknown temporality %q: it must be `cumulative` or `delta`", text)
}
