// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
)

// maxXMLTags is the largest number of tags in a text that OTTL's functions for XML are given. Some of them follow
// elements inside one another by recursion to any depth, and millions overflow the stack, which ends the process.
const maxXMLTags = 100_000

var errXMLTags = errors.New("XML text has more than 100000 tags")

// converters returns the standard converters of OTTL, those for XML with their bound.
func converters() map[string]ottl.Factory[*ottllog.TransformContext] {
	all := ottlfuncs.StandardConverters[*ottllog.TransformContext]()
	for name, f := range all {
		if strings.HasSuffix(name, "XML") {
			all[name] = boundedXML(f)
		}
	}
	return all
}

func boundedXML(f ottl.Factory[*ottllog.TransformContext]) ottl.Factory[*ottllog.TransformContext] {
	return ottl.NewFactory(f.Name(), f.CreateDefaultArguments(),
		func(fCtx ottl.FunctionContext, args ottl.Arguments) (ottl.ExprFunc[*ottllog.TransformContext], error) {
			fields := reflect.ValueOf(args).Elem()
			for i := range fields.NumField() {
				if text, ok := fields.Field(i).Interface().(ottl.StringGetter[*ottllog.TransformContext]); ok {
					fields.Field(i).Set(reflect.ValueOf(xmlText{text}))
				}
			}
			return f.CreateFunction(fCtx, args)
		})
}

// xmlText is an argument that is XML.
type xmlText struct {
	ottl.StringGetter[*ottllog.TransformContext]
}

// Get returns the text, or an error if it has too many tags. Each element has one, so they bound the depth.
func (x xmlText) Get(ctx context.Context, tCtx *ottllog.TransformContext) (string, error) {
	text, err := x.StringGetter.Get(ctx, tCtx)
	if err == nil && strings.Count(text, "<") > maxXMLTags {
		return "", errXMLTags
	}
	return text, err
}
