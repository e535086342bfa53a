// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Licenses checks the licenses of all that is in the distribution: every Go module that its binary was linked from, the
// standard library, and files of others that this project carries, such as those of a web page. It needs no network.
package main

import (
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// module is what a license is looked for in.
type module struct {
	Path    string
	Version string
	Dir     string
}

func main() {
	binary := flag.String("binary", "../dist/otelcol-tally", "the built distribution")
	root := flag.String("root", "..", "folder of the project")
	verbose := flag.Bool("v", false, "list the licenses of every module")
	flag.Parse()
	if err := run(*binary, *root, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(binary, root string, verbose bool) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read the modules of the distribution: %w", err)
	}
	modules, err := locate(info, filepath.Dir(binary))
	if err != nil {
		return err
	}
	var errs []error
	found := census{}
	for _, m := range modules {
		ids, err := licensesOf(m)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found.add(ids)
		if verbose {
			fmt.Printf("%s %s: %v\n", m.Path, m.Version, ids)
		}
	}
	carried, err := checkCarried(root)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("licenses: all %d modules of the distribution and %d files of its pages may be passed on: %s\n", len(modules), carried, found)
	return nil
}
