// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate ../scripts/generate.sh

// Package tallyreceiver is the Collector receiver `tally`: it reads the totals of a store every interval and sends them
// into a metrics pipeline.
package tallyreceiver
