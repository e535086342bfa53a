// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Command configuration writes docs/configuration.md: every option of every component.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/logtally/tallyprocessor/tools/docs/options"
)

func main() {
	root := flag.String("root", "../..", "folder of the project")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "configuration:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	components, err := options.Components(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "docs", "configuration.md"), []byte(page(components)), 0o600)
}
