// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate ../scripts/generate.sh

// Package tallyconnector is the Collector connector `tally`: logs in, metrics out. It counts as the processor `tally`
// does and emits the totals as the receiver `tally` does, in one piece; with the `logs` section of the `count`
// connector's configuration it takes that connector's place.
package tallyconnector
