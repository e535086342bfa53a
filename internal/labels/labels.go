// Package labels names the Prometheus labels of a key: one rule for all that shows totals to Prometheus.
package labels

import (
	"fmt"
	"strings"

	"github.com/prometheus/otlptranslator"
)

// What an attribute gets before its name when that is taken, or none that Prometheus takes.
const (
	AttributePrefix = "attribute."
	ResourcePrefix  = "resource."
)

// Namer gives each attribute of one key a label name of its own. It is not safe for concurrent use.
type Namer struct{ taken map[string]bool }

// NewNamer returns a Namer that gives none of the names in reserved.
func NewNamer(reserved ...string) *Namer {
	n := &Namer{taken: map[string]bool{}}
	for _, name := range reserved {
		n.taken[name] = true
	}
	return n
}

// Name returns the name under which an attribute is shown, and enters its Prometheus form as taken: the attribute's own,
// unless that is taken or reserved; then with prefix before it, and a number behind it should that be taken too.
func (n *Namer) Name(prefix, name string) string {
	candidate := name
	for i := 1; ; i++ {
		if label, ok := Prometheus(candidate); ok && !n.taken[label] {
			n.taken[label] = true
			return candidate
		}
		candidate = prefix + name
		if i > 1 {
			candidate = fmt.Sprintf("%s%s_%d", prefix, name, i)
		}
	}
}

// Prometheus returns the label name that an attribute name becomes, and whether Prometheus takes it: names that begin with
// two underscores, and those that exporters use for the scope, are reserved.
func Prometheus(name string) (string, bool) {
	namer := otlptranslator.LabelNamer{}
	label, err := namer.Build(name)
	if err != nil || strings.HasPrefix(label, "__") || strings.HasPrefix(label, "otel_scope_") {
		return "", false
	}
	return label, true
}
