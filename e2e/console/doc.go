// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package console tests the extension tally_console through its HTTP server: the page in a real browser, the answers
// against the OpenAPI document that it serves. It holds tests only.
package console
