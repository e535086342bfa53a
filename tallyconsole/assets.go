// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconsole

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

// assets are what the browser gets, as it is.
//
//go:embed assets
var assets embed.FS

// asset answers with one file.
func asset(name, contentType string) func(http.ResponseWriter, *http.Request) {
	content, err := assets.ReadFile("assets/" + name)
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil { // a test would fail
			writeError(w, http.StatusInternalServerError, "the file is missing in this build")
			return
		}
		w.Header().Set("Content-Type", contentType)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}
