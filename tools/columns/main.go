// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Command columns finds comments of Go, YAML and shell files that are wider than 120 columns, and breaks them with
// -fix.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", "..", "folder of the project")
	fix := flag.Bool("fix", false, "break the comments that are too wide")
	flag.Parse()
	wide, err := run(*root, *fix)
	if err != nil {
		fmt.Fprintln(os.Stderr, "columns:", err)
		os.Exit(1)
	}
	if wide > 0 {
		fmt.Fprintf(os.Stderr, "%d comments are wider than %d columns; `make format` breaks them\n", wide, width)
		os.Exit(1)
	}
}

// run returns how many lines are too wide still, having printed where they are.
func run(root string, fix bool) (int, error) {
	paths, err := files(root)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		if isGenerated(source) {
			continue
		}
		if fix {
			fixed := languageOf(path).wrap(source)
			if !bytes.Equal(fixed, source) {
				if err := os.WriteFile(path, fixed, 0o600); err != nil {
					return 0, err
				}
			}
			source = fixed
		}
		for _, line := range languageOf(path).tooWide(source) {
			fmt.Printf("%s:%d\n", path, line)
			sum++
		}
	}
	return sum, nil
}

func languageOf(path string) language {
	if strings.HasSuffix(path, ".go") {
		return inGo
	}
	return hash
}

// files returns the paths of all files with comments that Git knows, or would take.
func files(root string) ([]string, error) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.go", "*.yaml", "*.sh", "*Makefile", ".ci/run").Output()
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	var paths []string
	for _, name := range strings.Fields(string(out)) {
		path := filepath.Join(root, name)
		if _, err := os.Stat(path); err == nil { // else it was removed, and Git has not heard of it
			paths = append(paths, path)
		}
	}
	return paths, nil
}
