// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate scripts/generate.sh

// Package tallyprocessor is the Collector processor `tally`: it passes logs on unchanged and counts each record that
// the next component accepted exactly once, by key, in a MetricStore.
//
// A key is text, canonical and reversible:
//
//	["log.record.count",{"service.name":"checkout"},{"env":"prod","http.response.status_code":200}]
//
// that is a JSON array of metric name, resource attributes and attributes.
package tallyprocessor
