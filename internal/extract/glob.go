package extract

import "strings"

// glob is a pattern for names in which `*` stands for any text, also for none, and everything else for itself.
type glob struct {
	first, last string
	middle      []string
}

// IsGlob says whether the key of an attribute is a glob.
func IsGlob(a Attribute) bool { return a.Expression == nil && strings.Contains(a.Key, "*") }

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
