// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import "strings"

// glob is a pattern for names in which `*` stands for any text, also for none, and everything else for itself.
type glob struct {
	first, last string
	middle      []string
}

// IsGlob says whether a name is a glob.
func IsGlob(name string) bool { return strings.Contains(name, "*") }

// Overlap says whether some name matches both of two names or globs.
func Overlap(a, b string) bool {
	reached := make([]bool, len(b)+1) // by the rest of a, whether it overlaps with the rest of b from there
	for i := len(a); i >= 0; i-- {
		var corner bool
		for j := len(b); j >= 0; j-- {
			below := reached[j]
			right := j < len(b) && reached[j+1]
			switch {
			case i == len(a) && j == len(b):
				reached[j] = true
			case i < len(a) && a[i] == '*':
				reached[j] = below || right
			case j < len(b) && b[j] == '*':
				reached[j] = right || i < len(a) && below
			default:
				reached[j] = i < len(a) && j < len(b) && a[i] == b[j] && corner
			}
			corner = below
		}
	}
	return reached[0]
}

// newGlob returns the glob of a pattern that has a `*`.
func newGlob(pattern string) *glob {
	parts := strings.Split(pattern, "*")
	n := len(parts) - 1
	return &glob{first: parts[0], middle: parts[1:n], last: parts[n]}
}

// match takes each part where it comes first, which is right since any text may follow; the time is linear in the
// length of name for each part.
func (g *glob) match(name string) bool {
	if len(name) < len(g.first)+len(g.last) || !strings.HasPrefix(name, g.first) || !strings.HasSuffix(name, g.last) {
		return false
	}
	name = name[len(g.first) : len(name)-len(g.last)]
	for _, part := range g.middle {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}
