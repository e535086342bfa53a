// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Command messages prints all texts that users read outside the pages: errors, log lines, descriptions of metrics, and
// the texts of the console, each with its place, so that their wording can be looked at in one go.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// message is a text with its place.
type message struct {
	path, kind, text string
	line             int
}

func main() {
	root := flag.String("root", "../..", "folder of the project")
	flag.Parse()
	list, err := collect(*root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "messages:", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, m := range list {
		fmt.Fprintf(out, "%s:%d: %s: %s\n", m.path, m.line, m.kind, strings.Join(strings.Fields(m.text), " "))
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "messages:", err)
		os.Exit(1)
	}
}

// collect returns the messages of all files that are part of the library.
func collect(root string) (list []message, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && isLeftOut(d.Name()) {
			return filepath.SkipDir
		}
		read := readerOf(path)
		if read == nil || !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found, err := read(string(text))
		for _, m := range found {
			m.path = strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(root)+"/")
			list = append(list, m)
		}
		return err
	})
	return list, err
}

// isLeftOut says whether no user meets what is in a folder.
func isLeftOut(name string) bool {
	switch name {
	case "dist", "e2e", "bench", "tools", "testdata", "metadata", "evidence", "faultproxy", "configfuzz", "needs":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "test")
}

// readerOf returns what finds the messages of a file, or nil.
func readerOf(path string) func(text string) ([]message, error) {
	name := filepath.Base(path)
	switch {
	case strings.HasSuffix(name, "_test.go"):
		return nil
	case strings.HasSuffix(name, ".go"):
		return ofGo
	case name == "metadata.yaml":
		return ofMetadata
	case strings.HasSuffix(name, ".html"):
		return ofHTML
	case strings.HasSuffix(name, ".js"):
		return ofScript
	}
	return nil
}
