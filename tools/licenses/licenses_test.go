// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mit = `MIT License

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

const gpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.

You should have received a copy of the GNU General Public License along with this program. If not, see <https://www.gnu.org/licenses/>.
`

// folder makes a folder with these files in it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLicensesOfAModule(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
		err   error
	}{
		"MIT":                            {map[string]string{"LICENSE": mit}, []string{"MIT"}, nil},
		"another spelling":               {map[string]string{"licence.md": mit}, []string{"MIT"}, nil},
		"GPL":                            {map[string]string{"COPYING": gpl}, nil, errRefused},
		"both":                           {map[string]string{"LICENSE": mit + gpl}, nil, errRefused},
		"GPL in a part":                  {map[string]string{"LICENSE": mit, "part/LICENSE": gpl}, nil, errRefused},
		"GPL in test data":               {map[string]string{"LICENSE": mit, "testdata/LICENSE": gpl}, []string{"MIT"}, nil},
		"GPL in a module of its own":     {map[string]string{"LICENSE": mit, "tool/LICENSE": gpl, "tool/go.mod": ""}, []string{"MIT"}, nil},
		"none":                           {map[string]string{"a.go": mit}, nil, errNone},
		"only in a part":                 {map[string]string{"part/LICENSE": mit}, nil, errNone},
		"words that are no license":      {map[string]string{"LICENSE": "Do with it what you like."}, nil, errUnknown},
		"a license with much besides it": {map[string]string{"LICENSE": mit + strings.Repeat("You must not sell it. ", 200)}, nil, errUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := licensesOf(module{Path: "m", Dir: folder(t, tt.files)})
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestFilesOfPages(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		n     int
		err   error
	}{
		"our own":                  {map[string]string{"page/assets/a.js": "// Copyright The tally Authors\n"}, 1, nil},
		"without a notice":         {map[string]string{"page/assets/a.js": "let a = 1;"}, 1, nil},
		"of others":                {map[string]string{"page/assets/a.js": "/*! Copyright 2020 Somebody */"}, 1, errNoNotice},
		"of others, minified":      {map[string]string{"page/assets/a.min.js": "let a=1"}, 1, errNoNotice},
		"of others, with license":  {map[string]string{"page/assets/a.min.js": "let a=1", "page/assets/a.min.js.LICENSE": mit}, 2, nil},
		"of others, refused":       {map[string]string{"page/assets/a.min.js": "let a=1", "page/assets/a.min.js.LICENSE": gpl}, 2, errRefused},
		"elsewhere":                {map[string]string{"page/a.min.js": "let a=1"}, 0, nil},
		"in what is built":         {map[string]string{"dist/assets/a.min.js": "let a=1"}, 0, nil},
		"ours and of others, both": {map[string]string{"assets/a.js": "// Copyright The tally Authors\n// Copyright Somebody"}, 1, errNoNotice},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := checkCarried(folder(t, tt.files))
			if n != tt.n || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v; want %v, %v", n, err, tt.n, tt.err)
			}
		})
	}
}
