// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package options lists the options of all components, as their configurations have them.
package options

import (
	"fmt"
	"reflect"

	"go.opentelemetry.io/collector/component"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/memorystore"
	"github.com/logtally/tallyprocessor/redisstore"
	"github.com/logtally/tallyprocessor/tallyconnector"
	"github.com/logtally/tallyprocessor/tallyconsole"
	"github.com/logtally/tallyprocessor/tallyreceiver"
)

// Component is a component of tally.
type Component struct {
	Section string // of the Collector's configuration: `processors`
	ID      string // that it has there without a name: `tally`
	Factory component.Factory

	// Needs are the options without which its configuration is invalid, with a value for each.
	Needs map[string]any

	Options []Option // in the order of the configuration
}

// Title names the component for a heading: processor `tally`.
func (c Component) Title() string {
	return fmt.Sprintf("%s `%s`", c.Section[:len(c.Section)-1], c.ID)
}

// Components returns all components with their options. root is the folder of the project, whose comments describe
// them.
func Components(root string) ([]Component, error) {
	store := map[string]any{"store": "tally_memory"}
	list := []Component{
		{Section: "processors", ID: "tally", Factory: tallyprocessor.NewFactory()},
		{Section: "connectors", ID: "tally", Factory: tallyconnector.NewFactory()},
		{Section: "receivers", ID: "tally", Factory: tallyreceiver.NewFactory(), Needs: store},
		{Section: "extensions", ID: "tally_memory", Factory: memorystore.NewFactory()},
		{Section: "extensions", ID: "tally_redis", Factory: redisstore.NewFactory()},
		{Section: "extensions", ID: "tally_console", Factory: tallyconsole.NewFactory(), Needs: store},
	}
	for i := range list {
		w := walker{comments: comments{root: root}}
		w.walk(nil, reflect.ValueOf(list[i].Factory.CreateDefaultConfig()).Elem())
		if w.err != nil {
			return nil, fmt.Errorf("options of %s: %w", list[i].Title(), w.err)
		}
		list[i].Options = w.list
	}
	return list, nil
}
