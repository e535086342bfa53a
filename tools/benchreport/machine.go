// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/logtally/tallyprocessor/tools/internal/machine"
)

// measuredOn is what the benchmarks ran on and with.
type measuredOn struct {
	machine.Facts
	Modules []module
}

// module is one whose version the figures depend on.
type module struct {
	Path, Version string
}

const contrib = "github.com/open-telemetry/opentelemetry-collector-contrib/connector/"

// modules are those that are named in the report.
var modules = []string{
	"go.opentelemetry.io/collector/pdata",
	contrib + "countconnector",
	contrib + "signaltometricsconnector",
}

// describe returns the facts of this machine and of what the folder of the benchmarks uses.
func describe(bench string) (measuredOn, error) {
	facts, err := machine.Describe(bench)
	if err != nil {
		return measuredOn{}, err
	}
	modules, err := moduleVersions(bench)
	if err != nil {
		return measuredOn{}, fmt.Errorf("describe the machine: %w", err)
	}
	return measuredOn{facts, modules}, nil
}

// moduleVersions returns the versions that the module in a folder uses.
func moduleVersions(folder string) ([]module, error) {
	args := append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, modules...)
	text, err := machine.Output(folder, "go", args...)
	if err != nil {
		return nil, err
	}
	var list []module
	for line := range strings.Lines(text) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, module{path, version})
	}
	return list, nil
}
