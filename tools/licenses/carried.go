// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ofOthers matches what tells that a file was written elsewhere: a notice, or a form that nobody writes by hand.
var ofOthers = regexp.MustCompile(`(?i)\bcopyright\b|\(c\)\s*\d{4}|@license|\blicensed under\b|SPDX-License-Identifier`)

// ours are the notices of this project.
var ours = regexp.MustCompile(`(?i)copyright the tally authors|spdx-license-identifier: apache-2\.0`)

var errNoNotice = errors.New("seems to be from elsewhere: put its license beside it, as a file of the same name with .LICENSE behind it")

// checkCarried checks the files of pages, which are in folders named assets, and returns how many there are. One that
// others have written has its license beside it.
func checkCarried(root string) (int, error) {
	var errs []error
	n := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || name == "dist" || name == "node_modules" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		case filepath.Base(filepath.Dir(path)) != "assets":
			return nil
		}
		n++
		errs = append(errs, checkAsset(path))
		return nil
	})
	return n, errors.Join(append(errs, err)...)
}

func checkAsset(path string) error {
	license := path
	if !strings.HasSuffix(path, ".LICENSE") {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read asset: %w", err)
		}
		rest := ours.ReplaceAll(text, nil)
		if !strings.Contains(filepath.Base(path), ".min.") && !ofOthers.Match(rest) {
			return nil
		}
		license += ".LICENSE"
		if _, err := os.Stat(license); err != nil {
			return fmt.Errorf("%s %w", path, errNoNotice)
		}
	}
	_, err := licensesIn(license)
	return err
}
