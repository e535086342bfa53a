// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// module is the path of the module whose structs have comments here.
const module = "github.com/logtally/tallyprocessor"

// isOurs says whether a type is one of this project.
func isOurs(t reflect.Type) bool {
	return t.PkgPath() == module || strings.HasPrefix(t.PkgPath(), module+"/")
}

// comment is the doc comment of a field, without the field's name, and its structured lines.
type comment struct {
	text string

	// valid is the line "Valid: ...": which values the option takes. fallback is the line "Default: ...": what holds
	// when the field is empty.
	valid, fallback string
}

// comments reads the doc comments of fields.
type comments struct {
	root  string
	files map[string][]*ast.File // by folder
}

// of returns the comment of the field of a struct, which must have one.
func (c *comments) of(owner reflect.Type, field string) (comment, error) {
	files, err := c.parse(filepath.Join(c.root, strings.TrimPrefix(owner.PkgPath(), module)))
	if err != nil {
		return comment{}, err
	}
	for _, file := range files {
		if text := fieldComment(file, owner.Name(), field); text != "" {
			return readComment(field, text), nil
		}
	}
	return comment{}, fmt.Errorf("field %s of %s.%s has no comment", field, owner.PkgPath(), owner.Name())
}

func (c *comments) parse(folder string) ([]*ast.File, error) {
	if files, found := c.files[folder]; found {
		return files, nil
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	if c.files == nil {
		c.files = map[string][]*ast.File{}
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		c.files[folder] = append(c.files[folder], file)
	}
	return c.files[folder], nil
}

// fieldComment returns the comment of a field in a file, or nothing.
func fieldComment(file *ast.File, owner, field string) (text string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != owner {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				if hasName(f, field) {
					text = f.Doc.Text()
				}
			}
		}
		return false
	})
	return text
}

// hasName says whether a field has a name, which for an embedded one is that of its type.
func hasName(f *ast.Field, name string) bool {
	for _, n := range f.Names {
		if n.Name == name {
			return true
		}
	}
	selector, ok := f.Type.(*ast.SelectorExpr)
	return len(f.Names) == 0 && ok && selector.Sel.Name == name
}

// readComment takes a comment apart.
func readComment(field, text string) comment {
	var c comment
	var prose []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		line := strings.Join(strings.Fields(paragraph), " ")
		if after, found := strings.CutPrefix(line, "Valid: "); found {
			c.valid = strings.TrimSuffix(after, ".")
		} else if after, found := strings.CutPrefix(line, "Default: "); found {
			c.fallback = strings.TrimSuffix(after, ".")
		} else {
			prose = append(prose, line)
		}
	}
	c.text = withoutName(field, strings.Join(prose, " "))
	return c
}

// withoutName takes the field's name from the beginning of its comment: it is not the option's.
func withoutName(field, text string) string {
	rest, found := strings.CutPrefix(text, field+" ")
	if !found {
		return text
	}
	for _, verb := range []string{"is ", "are "} {
		rest = strings.TrimPrefix(rest, verb)
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}
