// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/tallyconsole/internal/table"
)

// Scope says where an attribute is looked for.
type Scope int

// The scopes. A name without a scope is that of an attribute if any key of the metric has it, and else of a resource
// attribute.
const (
	AnyScope Scope = iota
	Attributes
	Resource
)

// The prefixes that name a scope.
const (
	attributePrefix = "attribute."
	resourcePrefix  = "resource."
)

// Reference names an attribute.
type Reference struct {
	Scope Scope
	Name  string
}

// ParseReference reads NAME, attribute.NAME or resource.NAME.
func ParseReference(text string) Reference {
	if name, ok := strings.CutPrefix(text, resourcePrefix); ok {
		return Reference{Resource, name}
	}
	if name, ok := strings.CutPrefix(text, attributePrefix); ok {
		return Reference{Attributes, name}
	}
	return Reference{AnyScope, text}
}

func (r Reference) String() string {
	switch r.Scope {
	case Resource:
		return resourcePrefix + r.Name
	case Attributes:
		return attributePrefix + r.Name
	default:
		return r.Name
	}
}

// ReferenceTo returns the shortest reference to a column of m that means that column.
func ReferenceTo(m *table.Metric, column int) Reference {
	field := m.Columns[column].Attribute
	if field.Resource {
		return Reference{Resource, field.Name}
	}
	if r := ParseReference(field.Name); r.Scope == AnyScope && r.Name != "" {
		return r
	}
	return Reference{Attributes, field.Name}
}

// Operator is what a Condition wants of a value.
type Operator int

// The operators.
const (
	Equals Operator = iota
	Differs
	Contains
	Present
	Absent
)

// Condition is one that a key meets or not.
type Condition struct {
	Reference
	Operator
	Text  string
	Exact bool // Text is the JSON text of a string: a number does not equal it
}

// What is wrong with the text of a condition.
var (
	errNoName    = errors.New("it has no name")
	errNotAlone  = errors.New("after `!`, only a name is valid")
	errNotString = errors.New("the text in quotes is not a JSON string")
)

// conditionForms are those that ParseCondition reads.
const conditionForms = `NAME=VALUE, NAME!=VALUE, NAME~PART (contains), NAME (is there), !NAME (is not there); ` +
	`NAME is an attribute, attribute.NAME or resource.NAME; a NAME or VALUE may be in double quotes, as in JSON: a VALUE is then a string and no number`

// ConditionForms says what ParseCondition reads.
func ConditionForms() string { return conditionForms }

// ParseCondition reads a condition.
func ParseCondition(text string) (Condition, error) {
	c, err := parseCondition(text)
	if err != nil {
		return Condition{}, fmt.Errorf("%q %w: %w", text, ErrCondition, err)
	}
	return c, nil
}

func parseCondition(text string) (c Condition, err error) {
	rest, absent := strings.CutPrefix(text, "!")
	name, rest, err := cutName(rest)
	switch {
	case err != nil:
		return c, err
	case name == "":
		return c, errNoName
	case absent && rest != "":
		return c, errNotAlone
	}
	c = Condition{Reference: ParseReference(name)}
	switch {
	case absent:
		c.Operator = Absent
	case rest == "":
		c.Operator = Present
	case strings.HasPrefix(rest, "!="):
		c.Operator, c.Text = Differs, rest[2:]
	case rest[0] == '~':
		c.Operator, c.Text = Contains, rest[1:]
		return c, nil
	default:
		c.Operator, c.Text = Equals, rest[1:]
	}
	return c, c.unquote()
}

// unquote reads a value in quotes.
func (c *Condition) unquote() error {
	if !strings.HasPrefix(c.Text, `"`) {
		return nil
	}
	var s string
	if err := json.Unmarshal([]byte(c.Text), &s); err != nil {
		return errNotString
	}
	c.Text, c.Exact = string(serieskey.AppendString(nil, s)), true
	return nil
}

// cutName splits text behind the name that it begins with.
func cutName(text string) (name, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, "=~")
		if end < 0 {
			return text, "", nil
		}
		if text[end] == '=' && end > 0 && text[end-1] == '!' {
			end--
		}
		return text[:end], text[end:], nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&name); err != nil {
		return "", "", errors.New("the name in quotes is not a JSON string")
	}
	rest = text[d.InputOffset():]
	if rest != "" && !strings.HasPrefix(rest, "=") && !strings.HasPrefix(rest, "!=") && !strings.HasPrefix(rest, "~") {
		return "", "", errors.New("the name in quotes is not followed by =, != or ~")
	}
	return name, rest, nil
}

// binding is a Reference that has found its column.
type binding struct {
	column    int
	positions []int // of its cell, by shape; -1 = keys of that shape have none
}

// bind finds the column of a reference.
func bind(m *table.Metric, ref Reference) (binding, error) {
	column := -1
	for i, c := range m.Columns {
		if c.Live == 0 || c.Name != ref.Name || ref.Scope == Resource && !c.Resource || ref.Scope == Attributes && c.Resource {
			continue
		}
		if column < 0 || !c.Resource { // an attribute goes before the one of the resource
			column = i
		}
	}
	if column < 0 {
		return binding{}, fmt.Errorf("%q: %w", ref, ErrAttribute)
	}
	b := binding{column: column, positions: make([]int, len(m.Shapes))}
	for i, shape := range m.Shapes {
		b.positions[i] = -1
		for position, c := range shape.Columns {
			if int(c) == column {
				b.positions[i] = position
			}
		}
	}
	return b, nil
}

// cell returns the number of the value of a row; 0 where it has none.
func (b binding) cell(m *table.Metric, row int) uint32 {
	if position := b.positions[m.ShapeOf(row)]; position >= 0 {
		return m.Cell(row, position)
	}
	return 0
}

// text returns the value of a row.
func (b binding) text(m *table.Metric, row int) string {
	return m.Columns[b.column].Texts[b.cell(m, row)]
}

// filter is a Condition that has found its column, and the values that meet it.
type filter struct {
	binding
	meets []bool // by number of the value
}

type filters []filter

func (l filters) meet(m *table.Metric, row int) bool {
	for i := range l {
		if !l[i].meets[l[i].cell(m, row)] {
			return false
		}
	}
	return true
}

func compile(m *table.Metric, where []Condition) (filters, error) {
	var list filters
	for _, c := range where {
		b, err := bind(m, c.Reference)
		if err != nil {
			return nil, err
		}
		list = append(list, filter{b, c.values(m.Columns[b.column].Texts)})
	}
	return list, nil
}

// values says which values meet the condition; the first stands for none.
func (c Condition) values(texts []string) []bool {
	meets := make([]bool, len(texts))
	want, part := serieskey.Want(c.Text), strings.ToLower(c.Text)
	for i, text := range texts {
		equal := i > 0 && (c.Exact && text == c.Text || !c.Exact && want.Is(text))
		switch c.Operator {
		case Equals:
			meets[i] = equal
		case Differs:
			meets[i] = !equal
		case Contains:
			meets[i] = i > 0 && strings.Contains(strings.ToLower(serieskey.Shown(text)), part)
		case Present:
			meets[i] = i > 0
		case Absent:
			meets[i] = i == 0
		}
	}
	return meets
}

// IsResource says whether a reference that Run has taken is to an attribute of the resource.
func IsResource(m *table.Metric, ref Reference) bool {
	b, err := bind(m, ref)
	return err == nil && m.Columns[b.column].Resource
}
