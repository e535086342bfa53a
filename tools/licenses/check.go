// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licenses, by their SPDX identifier, under which a binary may be passed on by who also passes on the
// notices: permissive ones, and the weak copyleft of MPL-2.0, which ends at the file.
var allowed = map[string]bool{
	"0BSD": true, "Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true, "MPL-2.0": true,
	"Unlicense": true,
}

// sure is how many percent of the words of a license file must be those of licenses known. The rest is names and years.
const sure = 75

var (
	errNone    = errors.New("has no license file")
	errUnknown = errors.New("is not known as a license")
	errRefused = errors.New("is not among the allowed ones")
)

// licenseName matches the names of license files.
var licenseName = regexp.MustCompile(`(?i)^(un)?licen[cs]e([-._].*)?$|^copying([-._].*)?$`)

// licensesOf returns the licenses of a module: of the file in its root, which there must be, and of those below it,
// which are of code that it has taken over from others.
func licensesOf(m module) ([]string, error) {
	var ids []string
	var errs []error
	inRoot := false
	err := filepath.WalkDir(m.Dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if path != m.Dir && notLinked(path, entry.Name(), m.Path) {
				return filepath.SkipDir
			}
			return nil
		case !licenseName.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go"):
			return nil
		}
		inRoot = inRoot || filepath.Dir(path) == m.Dir
		found, err := licensesIn(path)
		ids = append(ids, found...)
		errs = append(errs, err)
		return nil
	})
	if err == nil && !inRoot {
		err = errNone
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", m.Path, m.Version, err)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// notLinked says that no file below a folder is linked into a binary.
func notLinked(path, name, modulePath string) bool {
	if modulePath == "std" {
		return true // its license is that of the root
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil // a module of its own
}

// licensesIn returns the licenses whose texts a file holds.
func licensesIn(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read license: %w", err)
	}
	return licensesInText(path, text)
}

func licensesInText(path string, text []byte) ([]string, error) {
	coverage := licensecheck.Scan(text)
	if len(coverage.Match) == 0 || coverage.Percent < sure {
		return nil, fmt.Errorf("%s %w: %.0f %% of it is", path, errUnknown, coverage.Percent)
	}
	var ids []string
	for _, match := range coverage.Match {
		if !allowed[match.ID] {
			return nil, fmt.Errorf("%s: %s %w", path, match.ID, errRefused)
		}
		ids = append(ids, match.ID)
	}
	return ids, nil
}

// census is how many modules there are of each license.
type census map[string]int

func (c census) add(ids []string) {
	for _, id := range ids {
		c[id]++
	}
}

func (c census) String() string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %d", id, c[id]))
	}
	return strings.Join(parts, ", ")
}
